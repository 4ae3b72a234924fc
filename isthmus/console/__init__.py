"""The operators' console of a running gateway: its files, its stores, and what it does for operators
(docs/CONSOLE.md)."""
