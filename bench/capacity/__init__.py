"""Scale on paper: what the parts cost, measured, and what many of them together would cost, reckoned."""
