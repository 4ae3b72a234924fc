"""All suites; docs/TESTING.md says which one is for what."""
