"""What the limits page says: promises with what was measured, and what was longest when a crowd was too large.

Decides what keeps a promise. Not responsible for: measuring.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.crowd import CrowdFigures
from bench.report import commit, machine

STADIUM_LATE_MS = 50.0
WIDE_CORES, RESTING_CORES = 0.25, 0.08
CLIENT_KB = 40.0
READY_S = 4.0


@dataclass(frozen=True)
class Growth:
    """Crowds of growing size, up to the first that was not held; ``failed``: why there is none."""

    transport: str
    runs: Sequence[CrowdFigures]
    failed: str | None


@dataclass(frozen=True)
class Limits:
    """All that was measured."""

    ready_s: float
    scenes: Mapping[str, CrowdFigures]
    few: CrowdFigures
    many: CrowdFigures
    growths: Sequence[Growth]
    alone_us: Mapping[str, float]
    """What a send and a recv of these sizes take alone."""

    @property
    def client_kb(self) -> float:
        """Memory for each further client, 1,000 bytes."""
        more = (self.many.rss_mib - self.few.rss_mib) * 1024 * 1.024
        return more / (self.many.clients - self.few.clients)


@dataclass(frozen=True)
class Promise:
    """A sentence, its figure, and whether it is kept."""

    what: str
    figure: str
    kept: bool


def promises(limits: Limits) -> list[Promise]:
    """Each promise with its figure."""
    stadium, wide, resting, many = (*(limits.scenes[name] for name in ("stadium", "wide", "resting")), limits.many)
    late_ms = stadium.tick_p999_s * 1000
    return [
        Promise(
            "3,000 WebSocket clients, 50 visible, 6,000 entities that move, 20 Hz, ten inputs a second each",
            f"{many.ticks_per_s:.1f} ticks/s, {many.cpu_s_per_s:.2f} of the core", many.held,
        ),
        Promise(
            f"a stadium: 1,000 within 60 m at 20 Hz, p99.9 of a tick at most {STADIUM_LATE_MS:g} ms",
            f"{stadium.ticks_per_s:.1f} ticks/s, p99.9 {late_ms:.0f} ms, {stadium.bytes_per_s_client / 1000:.1f} kB/s"
            " each",
            stadium.held and late_ms <= STADIUM_LATE_MS,
        ),
        Promise(
            f"100,000 entities of which 500 clients move: at most {WIDE_CORES:g} of a core",
            f"{wide.cpu_s_per_s:.3f}", wide.held and wide.cpu_s_per_s <= WIDE_CORES,
        ),
        Promise(
            f"the same while all rest: at most {RESTING_CORES:g} of a core",
            f"{resting.cpu_s_per_s:.3f}", resting.held and resting.cpu_s_per_s <= RESTING_CORES,
        ),
        Promise(
            f"memory for each further client: at most {CLIENT_KB:g} kB",
            f"{limits.client_kb:.1f} kB", limits.client_kb <= CLIENT_KB,
        ),
        Promise(
            f"from start to ready, kernels compiled before: at most {READY_S:g} s",
            f"{limits.ready_s:.1f} s", limits.ready_s <= READY_S,
        ),
    ]  # fmt: skip


def least_ms(run: CrowdFigures, alone_us: Mapping[str, float], phase: str) -> float | None:
    """What a phase's system calls alone take in a tick; None for a phase that makes none."""
    calls = {"send": run.clients, "receive": run.clients * run.inputs_taken_per_s_client / run.ticks_per_s}
    return calls[phase] * alone_us[phase] / 1000 if phase in calls else None


def costs(limits: Limits) -> list[str]:
    """Where the time of a tick goes, in each scene."""
    runs = {"crowd of 3,000": limits.many, **limits.scenes}
    names = list(limits.many.phases_s)[:8]
    lines = [
        "## Where a tick's time goes",
        "",
        "Mean milliseconds of each phase in a tick of 50 ms; behaviours, physics, index and publish are the shard's,"
        " the others the gateway's.",
        "",
        "| phase | " + " | ".join(runs) + " | the crowd's system calls alone |",
        "|---|" + "---|" * (len(runs) + 1),
    ]
    for name in names:
        row = [f"{run.phases_s.get(name, 0.0) * 1000:.2f}" for run in runs.values()]
        least = least_ms(limits.many, limits.alone_us, name)
        part = limits.many.phases_s[name] * 1000
        told = "none" if least is None else f"{least:.2f} ({part / least:.2f} times that is taken)"
        lines.append(f"| {name} | " + " | ".join(row) + f" | {told} |")
    whole = [f"{run.cpu_s_per_s:.3f}" for run in runs.values()]
    lines.append("| cores, all in all | " + " | ".join(whole) + " | |")
    late = [
        f"{run.tick_p50_s * 1000:.0f} / {run.tick_p99_s * 1000:.0f} / {run.tick_p999_s * 1000:.0f}"
        for run in runs.values()
    ]
    lines.append("| tick p50 / p99 / p99.9, ms | " + " | ".join(late) + " | |")
    return [*lines, ""]


def phases_told(run: CrowdFigures, most: int = 5) -> str:
    """The longest phases of a tick, in ms."""
    return ", ".join(f"{name} {seconds * 1000:.1f}" for name, seconds in list(run.phases_s.items())[:most])


def page(limits: Limits) -> str:
    """The whole page."""
    lines = [
        "# Limits",
        "",
        "Made by `make limits` (`python -m bench.limits`); do not edit. One server process on one core, its clients on"
        " another; five of them decode what they get and hold it against the rules of the standard. What a cluster runs"
        " into is in [capacity.md](capacity.md), what others do with the same work in [benchmarks.md](benchmarks.md).",
        "",
        "## What is promised",
        "",
        "| promise | measured | kept |",
        "|---|---|---|",
        *(f"| {one.what} | {one.figure} | {'yes' if one.kept else 'NO'} |" for one in promises(limits)),
        "",
        *costs(limits),
        "## What breaks first",
        "",
    ]
    for growth in limits.growths:
        over = "WebSocket" if growth.transport == "websocket" else "datagrams"
        lines += [
            f"Crowds over {over}, some 50 visible, ten inputs a second each, physics and behaviours on:",
            "",
            "| clients | ticks/s | cores | tick p99, ms | frames, late and never | the longest phases of a tick, ms |",
            "|---|---|---|---|---|---|",
        ]
        for run in growth.runs:
            frames = f"p99 {run.delay_p99_s * 1000:.0f} ms, {run.skipped:,} never"
            late_ms = run.tick_p99_s * 1000
            lines.append(
                f"| {run.clients:,} | {run.ticks_per_s:.1f} | {run.cpu_s_per_s:.2f} | {late_ms:.0f} | {frames} |"
                f" {phases_told(run)} |"
            )
        lines.append("")
        last = growth.runs[-1] if growth.runs else None
        if growth.failed is not None:
            lines.append(f"The next size failed: {growth.failed}.")
        elif last is not None and last.held:
            lines.append("More were not tried.")
        elif last is not None:
            first = next(iter(last.phases_s))
            lines.append(
                f"What breaks is the core: its longest phase at {last.clients:,} clients is *{first}*. A world in this"
                " state sheds detail for those far away, then steps less often; nobody's connection ends."
            )
        lines.append("")
    what = machine()
    lines.append("Measured on " + ", ".join(f"{key}: {value}" for key, value in what.items()) + f"; commit {commit()}.")
    return "\n".join(lines) + "\n"
