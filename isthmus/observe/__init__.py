"""What operators see of one process while it runs: figures, health, recorded ticks, flame graphs, traces.

Decides nothing about the world, and costs a tick next to nothing while nobody looks. Not responsible for: what is
counted (the cores), what an alert is (``k8s/monitoring``).
"""
