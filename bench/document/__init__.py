"""docs/benchmarks.md by one command: ours beside what people would take instead."""
