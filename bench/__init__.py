"""The benchmark: our server beside its peers on this machine (``python -m bench``; README.md beside this file)."""
