"""What people notice while a cluster is scaled down and upgraded: ``python -m bench.upgrade``."""
