"""The command line: parses, checks, and hands over; each command's work is imported when that command runs.

Decides names of commands and flags. Flags of ``serve`` and ``config`` are made from the table of options, so that a
new option has its flag at once. Not responsible for: what a command does (``isthmus.serve``, ``bots``, ``top``,
``warmup``).
"""

import os
import sys
from collections.abc import Callable
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from isthmus.config import OPTIONS, Config, ConfigProblems, load, show
from isthmus.startup import StartupError, check_interpreter, check_names

Command = TypeVar("Command", bound=Callable[..., Any])

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: a supervisor should not try again."""

DEFAULT_URL = "http://127.0.0.1:8080"
"""Where a world with default options is served."""

_WORLD_FILE = click.argument("world_file", metavar="WORLD.toml", type=click.Path(exists=True, dir_okay=False))
_url = click.option(
    "--url", envvar="ISTHMUS_URL", default=DEFAULT_URL, show_default=True, help="Address of the server's page."
)


def _option_flags(command: Command) -> Command:
    for option in reversed(list(OPTIONS.values())):
        text = f"{option.meaning} [{show(option.default)}]"
        command = click.option(option.flag, option.key.replace(".", "__"), metavar="VALUE", help=text)(command)
    return command


def _load_or_exit(world_file: str, given: dict[str, str | None]) -> Config:
    try:
        with open(world_file, encoding="utf-8") as file:
            text = file.read()
    except UnicodeDecodeError as problem:
        click.echo(f"{world_file}: not UTF-8 text ({problem.reason} at byte {problem.start})", err=True)
        sys.exit(EXIT_CONFIG)
    flags = {name.replace("__", "."): value for name, value in given.items() if value is not None}
    loaded = load(text, world_file, os.environ, flags)
    if isinstance(loaded, ConfigProblems):
        click.echo(str(loaded), err=True)
        sys.exit(EXIT_CONFIG)
    return loaded


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def cli() -> None:
    """Isthmus: virtual worlds that many people and many machines are in at once."""


@cli.command()
@_WORLD_FILE
@_option_flags
def serve(world_file: str, **given: str | None) -> None:
    """Serve a world.

    Options: WORLD.toml, above it the environment (ISTHMUS_AREA_NAME), above it the flags.
    """
    config = _load_or_exit(world_file, given)
    from isthmus.serve import run

    run(config)


@cli.command()
@_WORLD_FILE
@click.option("--shards", type=click.IntRange(1, 64), default=3, show_default=True, help="Shards to start.")
@click.option("--gateways", type=click.IntRange(1, 64), default=2, show_default=True, help="Gateways to start.")
@_option_flags
def cluster(world_file: str, shards: int, gateways: int, **given: str | None) -> None:
    """Run a whole cluster on this machine: etcd, a placer, shards and gateways."""
    config = _load_or_exit(world_file, given)
    from isthmus.fleet.run import run

    flags = {name.replace("__", "."): value for name, value in given.items() if value is not None}
    run(config, world_file, flags, shards, gateways)


@cli.command()
@_WORLD_FILE
@_option_flags
def shard(world_file: str, **given: str | None) -> None:
    """Run one shard of a world that many processes share (docs/CLUSTER.md). SIGTERM moves its regions away first."""
    config = _load_or_exit(world_file, given)
    from isthmus.member import run_shard

    run_shard(config)


@cli.command()
@_WORLD_FILE
@_option_flags
def gateway(world_file: str, **given: str | None) -> None:
    """Run one gateway of a world that many processes share (docs/CLUSTER.md)."""
    config = _load_or_exit(world_file, given)
    from isthmus.gateway import run_gateway

    run_gateway(config)


@cli.command()
@_WORLD_FILE
@_option_flags
def placer(world_file: str, **given: str | None) -> None:
    """Run a candidate for placing regions: one of them places, the others stand by."""
    config = _load_or_exit(world_file, given)
    from isthmus.member import run_placer

    run_placer(config)


@cli.group()
def region() -> None:
    """Regions of a running cluster: where they are; moving, splitting and merging them."""


@region.command("list")
@_WORLD_FILE
@_option_flags
def region_list(world_file: str, **given: str | None) -> None:
    """Show all regions with owner, epoch and load."""
    config = _load_or_exit(world_file, given)
    from isthmus.operate import list_regions, run

    run(config, list_regions)


@region.command("move")
@_WORLD_FILE
@click.argument("number", metavar="REGION", type=click.IntRange(min=1))
@click.argument("shard_name", metavar="SHARD")
@_option_flags
def region_move(world_file: str, number: int, shard_name: str, **given: str | None) -> None:
    """Move REGION to SHARD, and wait until it is there. People in it notice nothing."""
    config = _load_or_exit(world_file, given)
    from isthmus.operate import move_region, run

    run(config, lambda store: move_region(store, number, shard_name))


@region.command("split")
@_WORLD_FILE
@click.argument("number", metavar="REGION", type=click.IntRange(min=1))
@_option_flags
def region_split(world_file: str, number: int, **given: str | None) -> None:
    """Split REGION into its four quarters, and wait until that is done. People in it notice nothing."""
    config = _load_or_exit(world_file, given)
    from isthmus.operate import run, split_region

    run(config, lambda store: split_region(store, number))


@region.command("merge")
@_WORLD_FILE
@click.argument("number", metavar="REGION", type=click.IntRange(min=1))
@_option_flags
def region_merge(world_file: str, number: int, **given: str | None) -> None:
    """Make one region of four: REGION, one of them, and the three beside it in the same square; or the number that they
    have together. They are brought to one shard before. People in them notice nothing."""
    config = _load_or_exit(world_file, given)
    from isthmus.operate import merge_region, run

    run(config, lambda store: merge_region(store, number))


@region.command("release")
@_WORLD_FILE
@click.argument("name", metavar="MEMBER")
@_option_flags
def region_release(world_file: str, name: str, **given: str | None) -> None:
    """Give the regions of MEMBER away although nobody whom it asked is left: only if it is gone for good."""
    config = _load_or_exit(world_file, given)
    from isthmus.operate import release, run

    run(config, lambda store: release(store, name))


@cli.command()
@click.argument("world_file", metavar="[WORLD.toml]", type=click.Path(exists=True, dir_okay=False), required=False)
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON, for programs.")
@_option_flags
def doctor(world_file: str | None, as_json: bool, **given: str | None) -> None:
    """Look at this installation, and at the cluster of WORLD.toml, and say what to fix. Changes nothing; the status is
    1 if something does not work."""
    from isthmus.doctor.run import run

    config = _load_or_exit(world_file, given) if world_file is not None else Config()
    sys.exit(run(config, as_json))


@cli.group()
def record() -> None:
    """Look into running processes: their last ticks, and where their time goes. For whoever started them."""


_CONTROL = click.option(
    "--control", type=click.Path(path_type=Path), help="Folder of control sockets. [.isthmus/control]"
)


@record.command("ticks")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--seconds", type=click.FloatRange(min=0.1), default=30.0, show_default=True, help="How far back.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("ticks.json"), show_default=True, help="File to write."
)
@_CONTROL
def record_ticks(names: tuple[str, ...], seconds: float, out: Path, control: Path | None) -> None:
    """Write the last ticks of all processes here (or of those named) as a trace for https://ui.perfetto.dev."""
    from isthmus.observe.recording import folder_of, record_ticks, run

    run(record_ticks(folder_of(control), names, seconds, out))


@record.command("flame")
@click.argument("name", required=False)
@click.option("--seconds", type=click.FloatRange(0.1, 60.0), default=10.0, show_default=True, help="For how long.")
@click.option(
    "--rate", "rate_hz", type=click.FloatRange(1, 250), default=100.0, show_default=True, help="Looks per second."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("flame.svg"),
    show_default=True,
    help="File to write; its ending says what.",
)
@click.option("--waiting", is_flag=True, help="Show threads that have nothing to do as well.")
@_CONTROL
def record_flame(
    name: str | None, seconds: float, rate_hz: float, out: Path, waiting: bool, control: Path | None
) -> None:
    """Sample a running process and write a flame graph: .svg, .json for speedscope.app, .txt for collapsed stacks."""
    from isthmus.observe.recording import folder_of, record_flame, run

    run(record_flame(folder_of(control), name, seconds, rate_hz, out, waiting))


@cli.command()
@_WORLD_FILE
@click.argument("name", metavar="MEMBER")
@_option_flags
def drain(world_file: str, name: str, **given: str | None) -> None:
    """Have a shard or gateway move away what it has, and end."""
    config = _load_or_exit(world_file, given)
    from isthmus.operate import drain, run

    run(config, lambda store: drain(store, name))


@cli.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def audit(file: Path) -> None:
    """Show the log of what operators did, and check that nothing in it was altered (docs/CONSOLE.md)."""
    from isthmus.console.log import show

    sys.exit(show(file))


@cli.command()
@_WORLD_FILE
@click.argument("file", type=click.Path(path_type=Path))
@_option_flags
def backup(world_file: str, file: Path, **given: str | None) -> None:
    """Write one moment of the world's durable store into FILE, also while it is served."""
    config = _load_or_exit(world_file, given)
    from isthmus.transferring import back_up

    back_up(config, file)


@cli.command()
@_WORLD_FILE
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_option_flags
def restore(world_file: str, file: Path, **given: str | None) -> None:
    """Write a backup into the world's durable store, which must be empty: all of it or nothing."""
    config = _load_or_exit(world_file, given)
    from isthmus.transferring import bring_back

    bring_back(config, file)


@cli.command()
@click.argument("world_file", metavar="[WORLD.toml]", type=click.Path(exists=True, dir_okay=False), required=False)
@click.option("--explain", is_flag=True, help="Tell what each option means instead of its value.")
@_option_flags
def config(world_file: str | None, explain: bool, **given: str | None) -> None:
    """Show the effective options and where each one comes from, or all mistakes in them."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    if explain:
        for heading in ("option", "default", "meaning"):
            table.add_column(heading, overflow="fold")
        for key, option in OPTIONS.items():
            table.add_row(key, show(option.default), option.meaning)
    elif world_file is None:
        raise click.UsageError("Name a WORLD.toml, or ask for --explain.")
    else:
        loaded = _load_or_exit(world_file, given)
        for heading in ("option", "value", "source"):
            table.add_column(heading, overflow="fold")
        for key, option in OPTIONS.items():
            value = getattr(getattr(loaded, option.area), option.name)
            table.add_row(key, show(value), loaded.sources[key])
        for channel in loaded.channels:
            table.add_row("channel", f"{channel.name}: {channel.camera}", world_file)
    # Into a pipe nothing is folded: a line per option, for grep.
    console = Console() if sys.stdout.isatty() else Console(width=400)
    console.print(table, markup=False)


@cli.command()
@click.argument("count", type=click.IntRange(1, 20_000))
@_url
@click.option("--seconds", "duration_s", type=click.FloatRange(min=0), help="Leave after so long; absent: at Ctrl-C.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the bots' walks and names.")
@click.option("--token", envvar="ISTHMUS_TOKEN", help="Signed token of a single bot, for a server in production mode.")
@click.option("--token-file", type=click.Path(exists=True, dir_okay=False), help="Signed tokens, one a line and bot.")
@click.option(
    "--rate", "input_hz", type=click.FloatRange(1, 60), default=10.0, show_default=True, help="Inputs/s each."
)
@click.option("--joins", "joins_per_s", type=click.FloatRange(1), default=100.0, show_default=True, help="Joins/s.")
@click.option("--headless-walk", is_flag=True, help="Do not predict: less CPU for each bot, no corrections counted.")
@click.option("--datagrams", is_flag=True, help="Go on over UDP where the server offers it.")
def bots(headless_walk: bool, **given: Any) -> None:
    """Send COUNT Python clients in, who walk and look."""
    from isthmus.bots import run

    sys.exit(run(predict=not headless_walk, **given))


@cli.command()
@_url
def top(url: str) -> None:
    """Show a server live in the terminal."""
    from isthmus.top import run

    sys.exit(run(url=url))


@cli.command()
def warmup() -> None:
    """Compile all kernels into the cache, as an image's build does."""
    from isthmus.config.model import Logging
    from isthmus.logging import configure
    from isthmus.warmup import warm_up

    configure(Logging())
    warm_up()


@cli.command()
def version() -> None:
    """Show the versions of Isthmus and of Python."""
    click.echo(f"isthmus {installed_version('isthmus')}, Python {sys.version.split()[0]}")


def main() -> None:
    """Entry of the console script: check what must hold, then run the command."""
    try:
        check_interpreter()
        check_names()
        cli(prog_name="isthmus")
    except StartupError as problem:
        click.echo(str(problem), err=True)
        sys.exit(EXIT_CONFIG)
