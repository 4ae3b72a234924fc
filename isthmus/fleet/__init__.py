"""A whole cluster on one machine: a real etcd, shards, gateways and a placer as child processes.

Decides nothing about the world: it starts processes, starts them again when they die, and ends them in order. On more
than one machine Kubernetes does this (k8s/).
"""
