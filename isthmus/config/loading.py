"""From text, environment and flags to a configuration, or to the list of everything that is wrong with it.

Decides that flags win over the environment and the environment over the file, and that an unknown name is a mistake,
with the nearest known one as its remedy: an option that was silently ignored is worse than one that is missing.
Invariant: pure but for ``is_file``, which is asked whether a named file exists. Not responsible for: reading anything.
"""

import difflib
import os.path
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from isthmus.config.channels import Channel, read_channels
from isthmus.config.lines import lines_of
from isthmus.config.model import (
    AREAS,
    Auth,
    Cluster,
    Config,
    Console,
    Durable,
    Gateway,
    Limits,
    Logging,
    Observe,
    Profile,
    Shard,
    Tracing,
    View,
    World,
)
from isthmus.config.options import OPTIONS, BadValue, from_text, from_toml
from isthmus.config.problems import ConfigProblems, Problem
from isthmus.config.relations import broken_relations

T = TypeVar("T")
PREFIX = "ISTHMUS_"
NOT_OPTIONS = frozenset({"ISTHMUS_TOKEN", "ISTHMUS_URL", "ISTHMUS_SIM_SEED"})
"""Variables with our prefix that client commands, the page's development server and the simulator read."""


def load(
    toml_text: str,
    path: str,
    environ: Mapping[str, str],
    flags: Mapping[str, str],
    *,
    is_file: Callable[[str], bool] = os.path.isfile,
) -> Config | ConfigProblems:
    """The effective configuration, or all its mistakes.

    ``path`` names the text in messages, and its folder is the world's. ``environ`` may hold anything; names that start
    with ``ISTHMUS_`` are ours. ``flags`` maps keys (``gateway.port``) to the texts given. Raises nothing.
    """
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    channels: list[Channel] = []
    problems = [
        *_read_toml(toml_text, path, values, sources, channels),
        *_read_environment(environ, values, sources),
        *_read_flags(flags, values, sources),
    ]
    config = Config(
        world=_area(World, "world", values),
        shard=_area(Shard, "shard", values),
        view=_area(View, "view", values),
        **{name: _area(Profile, name, values) for name, owner in AREAS.items() if owner is Profile},
        gateway=_area(Gateway, "gateway", values),
        limits=_area(Limits, "limits", values),
        auth=_area(Auth, "auth", values),
        logging=_area(Logging, "logging", values),
        cluster=_area(Cluster, "cluster", values),
        durable=_area(Durable, "durable", values),
        observe=_area(Observe, "observe", values),
        tracing=_area(Tracing, "tracing", values),
        console=_area(Console, "console", values),
        channels=tuple(channels),
        folder=os.path.dirname(path) or ".",
        sources={key: sources.get(key, "default") for key in OPTIONS},
    )
    # Values that were refused count as their defaults here: the relations between the good ones are still told.
    problems += broken_relations(config, path, is_file)
    return ConfigProblems(tuple(problems)) if problems else config


def _read_toml(
    text: str, path: str, values: dict[str, object], sources: dict[str, str], channels: list[Channel]
) -> Iterable[Problem]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        yield Problem(path, f"this is not TOML: {problem}", "correct the text at that place")
        return
    lines = lines_of(text)

    def place(key: str) -> str:
        line = lines.get(key)
        return f"{path}:{line} {key}" if line else f"{path} {key}"

    for area, table in document.items():
        if area == "channel":
            yield from read_channels(table, path, lines, channels)
        elif area not in AREAS:
            yield Problem(place(area), f"there is no [{area}]", _nearest(area, AREAS, "[{}]"))
        elif not isinstance(table, dict):
            yield Problem(place(area), f"{area} is a table, not a value", f"write [{area}] and its options below it")
        else:
            for name, value in table.items():
                key = f"{area}.{name}"
                if key not in OPTIONS:
                    known = [option.name for option in OPTIONS.values() if option.area == area]
                    yield Problem(place(key), f"[{area}] has no option {name}", _nearest(name, known, "{}"))
                    continue
                try:
                    values[key] = from_toml(OPTIONS[key], value)
                    sources[key] = place(key).removesuffix(f" {key}")
                except BadValue as problem:
                    yield Problem(place(key), str(problem), f"give {OPTIONS[key].expected}")


def _read_environment(
    environ: Mapping[str, str], values: dict[str, object], sources: dict[str, str]
) -> Iterable[Problem]:
    by_variable = {option.variable: option for option in OPTIONS.values()}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in NOT_OPTIONS:
            continue
        option = by_variable.get(variable)
        if option is None:
            yield Problem(variable, "no option has this variable", _nearest(variable, by_variable, "{}"))
            continue
        try:
            values[option.key] = from_text(option, environ[variable])
            sources[option.key] = variable
        except BadValue as problem:
            yield Problem(variable, str(problem), f"give {option.expected}")


def _read_flags(flags: Mapping[str, str], values: dict[str, object], sources: dict[str, str]) -> Iterable[Problem]:
    for key, text in flags.items():
        option = OPTIONS.get(key)
        if option is None:
            yield Problem(f"flag {key}", "there is no such option", _nearest(key, OPTIONS, "{}"))
            continue
        try:
            values[key] = from_text(option, text)
            sources[key] = option.flag
        except BadValue as problem:
            yield Problem(option.flag, str(problem), f"give {option.expected}")


def _area(owner: type[T], area: str, values: Mapping[str, object]) -> T:
    own = {key.partition(".")[2]: value for key, value in values.items() if key.startswith(f"{area}.")}
    return owner(**own)


def _nearest(name: str, known: Iterable[str], form: str) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {form.format(close[0])}?"
    if len(names) > 30:
        return "remove it; `isthmus config --explain` lists all options"
    return "known are " + ", ".join(form.format(item) for item in names)
