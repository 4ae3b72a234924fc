"""``isthmus doctor``: looks at an installation, and at the cluster that it belongs to, and says what to fix.

``facts``: what was found. ``machine`` and ``services``: from facts to findings, pure. ``gather``: the shell that looks.
"""
