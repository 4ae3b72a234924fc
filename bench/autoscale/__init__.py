"""The settings of k8s/components/autoscaling tried on a day and a night: ``python -m bench.autoscale``."""
