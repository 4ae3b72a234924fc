"""What must hold before any command runs: assertions are on, and our package names resolve to us.

The folders at the top level are import packages with plain names (``server``, ``client``); an installed package or a
file in the working directory could stand before them on ``sys.path``. Then half of the program would be somebody
else's: say so at once.
"""

import importlib.util
import os.path

PACKAGES = ("protocol", "kernels", "shard", "server", "cluster", "bridges", "client")


class StartupError(Exception):
    """The program cannot run like this; the text says why and what to do."""


def check_interpreter(*, optimised: bool = not __debug__) -> None:
    """Raise StartupError under ``python -O``: our assertions guard the world's state and must not vanish."""
    if optimised:
        raise StartupError(
            "Isthmus does not run under `python -O`: its assertions protect the world's state. Start it without -O and "
            "without PYTHONOPTIMIZE."
        )


def check_names(home: str | None = None) -> None:
    """Raise StartupError unless every package of ours is found beside ``isthmus``, in ``home``."""
    home = os.path.realpath(home or os.path.dirname(os.path.dirname(__file__)))
    strangers = []
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None:
            strangers.append(f"  {name}: not found, expected in {home}")
        elif spec.origin is None or os.path.realpath(os.path.dirname(os.path.dirname(spec.origin))) != home:
            strangers.append(f"  {name}: {spec.origin or 'a folder without __init__.py'}, expected in {home}")
    if strangers:
        raise StartupError(
            "These names belong to Isthmus but resolve to something else:\n"
            + "\n".join(strangers)
            + "\nRun from another folder, remove the other package, or use a virtual environment of its own."
        )
