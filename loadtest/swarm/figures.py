"""What a run of the swarm measured: one record, its verdict, its table.

Times of frames are told as distances from the earliest of the window (``c/window.c``). Not responsible for: what the
server says of itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

SATURATED = 0.9
"""A core that the swarm uses more of says more about the swarm than about the server."""


@dataclass(frozen=True)
class Datagrams:
    """Of the window, all clients together. ``lost``: numbered by the server and not come by its end."""

    received: int
    lost: int
    repeated: int
    unread: int
    sent: int
    sent_bytes: int
    acks_alone: int
    hellos_again: int


@dataclass(frozen=True)
class Figures:
    """One run. ``delay``: of a frame's arrival after its tick, less the least of all; ``trip``: an input's way to the
    server and the echo's back. ``skipped``: frames whose number never came. ``bytes_per_s_client``: payload of TCP or
    UDP."""

    transport: str
    profile: str
    clients: int
    joined: int
    lost: int
    reasons: Mapping[str, int]
    join_s: float
    slowest_join_s: float
    seconds: float
    frames_per_s_client: float
    frames_per_s_p5: float
    skipped: int
    bytes_per_s_client: float
    inputs_per_s_client: float
    inputs_late: int
    delay_p50_s: float
    delay_p99_s: float
    delay_p999_s: float
    delay_max_s: float
    trip_p50_s: float
    trip_p99_s: float
    gap_p50_s: float
    gap_max_s: float
    swarm_cpu: float
    datagrams: Datagrams | None

    @property
    def saturated(self) -> bool:
        """Whether the swarm was short of time itself."""
        return self.swarm_cpu > SATURATED or self.inputs_late > 0

    @property
    def complete(self) -> bool:
        """All came in, none was lost, and the swarm kept its pace."""
        return self.joined == self.clients and self.lost == 0 and not self.saturated


def figures_of(transport: str, profile: str, clients: int, ready: dict[str, Any], ended: dict[str, Any]) -> Figures:
    """Figures from what the program said when all were in, and at the end of the window."""
    each = max(1, ended["joined"]) * ended["seconds"]
    told = ended.get("datagrams")
    return Figures(
        transport=transport,
        profile=profile,
        clients=clients,
        joined=ready["joined"],
        lost=ended["dead"],
        reasons=ended["reasons"],
        join_s=ready["seconds"],
        slowest_join_s=ready["slowest_join_s"],
        seconds=ended["seconds"],
        frames_per_s_client=ended["frames"] / each,
        frames_per_s_p5=ended["frames_per_s_p5"],
        skipped=ended["skipped"],
        bytes_per_s_client=ended["bytes"] / each,
        inputs_per_s_client=ended["inputs"] / each,
        inputs_late=ended["turns_late"],
        delay_p50_s=ended["delay_p50_s"],
        delay_p99_s=ended["delay_p99_s"],
        delay_p999_s=ended["delay_p999_s"],
        delay_max_s=ended["delay_max_s"],
        trip_p50_s=ended["trip_p50_s"],
        trip_p99_s=ended["trip_p99_s"],
        gap_p50_s=ended["gap_p50_s"],
        gap_max_s=ended["gap_max_s"],
        swarm_cpu=ended["cpu_s"] / ended["seconds"],
        datagrams=None
        if told is None
        else Datagrams(
            told["in"], told["lost"], told["repeated"], told["unread"], told["out"], told["out_bytes"],
            told["acks_alone"], told["hellos_again"],
        ),
    )  # fmt: skip


def table(f: Figures) -> Table:
    """The figures for people."""
    title = f"{f.clients} clients ({f.profile}) over {f.transport}"
    shown = Table(title=title, title_justify="left", show_header=False)

    def ms(*seconds: float) -> str:
        return " / ".join(f"{1000 * s:.1f}" for s in seconds)

    rows = [
        ("in, lost", f"{f.joined} of {f.clients}, {f.lost} lost"),
        ("all in after", f"{f.join_s:.1f} s (slowest {f.slowest_join_s:.2f} s)"),
        ("frames a second and client, 5 % get less than", f"{f.frames_per_s_client:.2f}, {f.frames_per_s_p5:.2f}"),
        ("frames skipped", str(f.skipped)),
        ("kB/s to each client", f"{f.bytes_per_s_client / 1000:.2f}"),
        ("inputs a second and client", f"{f.inputs_per_s_client:.2f}"),
        ("a frame behind the earliest: p50 / p99 / p99.9 / most, ms",
         ms(f.delay_p50_s, f.delay_p99_s, f.delay_p999_s, f.delay_max_s)),
        ("input to echo: p50 / p99, ms", ms(f.trip_p50_s, f.trip_p99_s)),
        ("longest silence of a client: p50 / most, ms", ms(f.gap_p50_s, f.gap_max_s)),
        ("CPU of this program", f"{f.swarm_cpu:.2f} of a core"),
    ]  # fmt: skip
    if (d := f.datagrams) is not None:
        total = max(1, d.received + d.lost)
        rows += [
            ("datagrams received, lost", f"{d.received}, {d.lost} ({100 * d.lost / total:.3f} %)"),
            ("repeated, not readable", f"{d.repeated}, {d.unread}"),
            ("datagrams sent, of these empty acknowledgements", f"{d.sent}, {d.acks_alone}"),
        ]
    rows += [(f"lost: {reason}", str(times)) for reason, times in f.reasons.items()]
    for row in rows:
        shown.add_row(*row)
    return shown
