"""``python -m isthmus``: the same as the console script."""

from isthmus.cli import main

main()
