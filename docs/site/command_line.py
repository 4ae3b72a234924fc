"""The command line's reference, from the commands of ``isthmus.cli`` themselves.

Flags that come from the configuration are not told again for each command: they are the configuration's. Invariant:
every command and every flag of its own is told.
"""

from collections.abc import Iterator

import click

from docs.site.tables import code, first_sentence, table
from isthmus.cli import cli
from isthmus.config import OPTIONS

_HEAD = """# Command line

Made from `isthmus/cli.py`. `isthmus COMMAND --help` tells the same. Commands that take a world's file also take every
[option of the configuration](configuration.md) as a flag, such as `--gateway-port 9000`.

Exit statuses: 0 done; 1 not done, with a sentence that says why; 2 a command line that cannot be read; 69 something it
needs is away (etcd, a durable store); 78 a mistake in the configuration: starting it again would not help.
"""


def commands(group: click.Group = cli, path: str = "isthmus") -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name, groups left out."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def own_options(command: click.Command) -> list[click.Option]:
    """Its flags that are no options of the configuration."""
    of_configuration = {option.flag for option in OPTIONS.values()}
    return [p for p in command.params if isinstance(p, click.Option) and not of_configuration & set(p.opts)]


def page() -> str:
    """The page."""
    parts = [_HEAD]
    for path, command in commands():
        arguments = [p for p in command.params if isinstance(p, click.Argument)]
        takes_configuration = len(own_options(command)) + len(arguments) < len(command.params)
        words = [path, *(_placed(argument) for argument in arguments), *(["[OPTIONS]"] if command.params else [])]
        text = first_sentence(command.help).replace("<", "&lt;")
        parts.append(f"\n## {path}\n\n`{' '.join(words)}`\n\n{text}\n")
        if rows := [_row(option) for option in own_options(command)]:
            parts.append("\n" + table(("flag", "default", "meaning"), rows))
        if takes_configuration:
            parts.append("\nTakes the options of the configuration.\n")
    return "".join(parts)


def _placed(argument: click.Argument) -> str:
    return argument.metavar or (argument.name or "").upper()


def _row(option: click.Option) -> tuple[str, str, str]:
    if not option.help:
        raise ValueError(f"{option.opts[0]} has no help")
    value = "" if option.is_flag else f" {option.metavar or option.type.name.upper().replace(' RANGE', '')}"
    default = "" if option.is_flag or not isinstance(option.default, str | int | float) else str(option.default)
    variable = f" Environment: `{option.envvar}`." if option.envvar else ""
    return code(f"{option.opts[0]}{value}"), code(default), f"{option.help}{variable}"
