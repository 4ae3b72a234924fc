"""The configuration's reference: every option and every key of a channel, as ``isthmus.config`` declares them.

Invariant: nothing is listed here by hand, so what is declared is told. Not responsible for: the words (descriptions in
``isthmus/config/model.py``), what a channel's keys mean (docs/TV.md).
"""

import dataclasses
from typing import get_args, get_origin, get_type_hints

from docs.site.tables import code, first_sentence, table
from isthmus.config import OPTIONS, show
from isthmus.config.channels import Channel
from isthmus.config.model import AREAS
from isthmus.config.options import in_words

_HEAD = """# Configuration

Made from `isthmus/config/model.py`. An option stands in the world's file under its area, in the environment as
`ISTHMUS_<AREA>_<NAME>`, and on the command line as `--<area>-<name>` with dashes; a flag wins over the environment,
the environment over the file, the file over the default. Units stand last in the names. All mistakes are told at once,
before anything listens: `isthmus config WORLD.toml` shows what applies and where each value comes from.
"""
_CHANNELS = """
## [[channel]]

A table for each channel of the world ([TV.md](../TV.md) says what they mean), in its file alone.

"""
_PROFILES_ALIKE = "As [profile_vr](#profile_vr), for this class of devices."


def page() -> str:
    """The page."""
    parts, told = [_HEAD], set[type]()
    for area, owner in AREAS.items():
        parts.append(f"\n## [{area}] {{#{area}}}\n\n")
        again = owner in told
        parts.append(f"{_PROFILES_ALIKE if again else first_sentence(owner.__doc__)}\n\n")
        told.add(owner)
        rows = [
            (
                code(option.name),
                code(show(option.default)) if option.default is not None else "absent",
                option.accepts,
                "" if again else _told(option.meaning),
            )
            for option in OPTIONS.values()
            if option.area == area
        ]
        parts.append(table(("option", "default", "takes", "meaning"), rows))
    parts += [_CHANNELS, table(("key", "default", "takes"), _channel_rows())]
    return "".join(parts)


def _told(meaning: str) -> str:
    if not meaning:
        raise ValueError("an option without a meaning")
    return meaning.replace("<", "&lt;")


def _channel_rows() -> list[tuple[str, str, str]]:
    hints = get_type_hints(Channel, include_extras=True)
    return [
        (
            code(field.name),
            ""
            if field.default is dataclasses.MISSING
            else "absent"
            if field.default is None
            else _shown(field.default),
            _accepts(hints[field.name]),
        )
        for field in dataclasses.fields(Channel)
    ]


def _shown(default: object) -> str:
    return code(show(default))


def _accepts(annotation: object) -> str:
    bare = (
        get_args(annotation)[0] if get_origin(annotation) not in (tuple, None) and get_args(annotation) else annotation
    )
    if get_origin(bare) is tuple:
        inner = get_args(bare)
        return (
            f"a list of {len(inner)} numbers"
            if inner[0] is float
            else f"a list of lists of {len(get_args(inner[0]))} numbers"
        )
    return in_words(annotation)
