"""What a run found, for people (HTML, one file) and for programs (JSON)."""
