"""Which gateway should serve whom: pure functions from what gateways' records tell to what should be.

Theory. A gateway mirrors each region that one of its sessions sees. Of n sessions that see a region, each is the cause
of 1/n of that mirror; the sum over the regions that it sees is what a session costs, in mirrored regions. It costs more
at a gateway that has more than LOAD_PART of the mean (``_load``). It is sent to where those who see the same cost less.
Each such move lowers one sum that all gateways share, 1 + 1/2 + ... + 1/n over all gateways and regions, and loads
added up likewise (Rosenthal's potential of a congestion game): so sending comes to an end. Where a place costs as much
at two gateways, the one that has clearly fewer sessions takes it, else the one whose name is less: so they never swap.
Those who are sent at once are of one neighbourhood, so that it comes to be at one gateway.

Invariants: same arguments, same answer; nobody is sent to one that takes nobody, nor to one that has more than
LOAD_PART of the sessions of the emptiest and LOAD_REST; a session that is sent away costs less where it comes to. Not
responsible for: who was sent lately (the caller), carrying it out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cluster.partition import Sights
from cluster.turns import soon

LOAD_PART = 1.25
LOAD_REST = 10
"""With few sessions affinity counts more than evenness."""
MORE = 1.25
"""So much less must a session cost elsewhere: people walk over borders, and nobody should follow each of them."""
GAIN_LEAST = 1e-6
"""In mirrored regions: less is the rounding of sums."""
LOAD_REGIONS = 4.0
"""What a session costs more at a gateway that has the mean beyond LOAD_PART, in mirrored regions. 4: as many as a view
touches; so a gateway that is new, or was left by all, gets a part of the world again."""
SOON_REGIONS = 1.0
"""What it costs to send somebody to a gateway that may end next, in mirrored regions: it would be sent on."""
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Crowd:
    """One gateway: its sessions, and for each region that it mirrors how many of them see it. ``takes``: whether people
    may be sent there."""

    sessions: int
    regions: Mapping[int, float]
    takes: bool = True


@dataclass(frozen=True, slots=True)
class Sent:
    """Session ``index`` should go on at gateway ``to``."""

    index: int
    to: str


def room(name: str, others: Iterable[int], crowds: Mapping[str, Crowd], full: int) -> float:
    """How many sessions ``name`` may have beside gateways that take people and ``others`` with so many."""
    counts = [crowd.sessions for other, crowd in crowds.items() if other != name and crowd.takes]
    least = min([*counts, *others], default=full)
    return min(LOAD_PART * least + LOAD_REST, full)


def gateway_for(
    regions: Sequence[int], crowds: Mapping[str, Crowd], full: int = 1 << 30, leaving: str | None = None
) -> str | None:
    """Who takes somebody that has to go and sees ``regions``, or None if nobody does.

    The one where that costs least in mirrored regions, unless it has many more sessions than the emptiest, or ``full``;
    rather one that does not end next after the gateway ``leaving`` (``turns``).
    """

    def cost(name: str) -> tuple[float, int, str]:
        crowd = crowds[name]
        mirrored = sum(1.0 / (crowd.regions.get(region, 0.0) + 1.0) for region in regions)
        return mirrored + SOON_REGIONS * soon(name, leaving), crowd.sessions, name

    takers = [name for name, c in crowds.items() if c.takes and c.sessions <= room(name, (), crowds, full)]
    return min(takers, key=cost, default=None)


def to_send(
    me: str, sights: Sights, movable: npt.NDArray[np.bool_], others: Mapping[str, Crowd], most: int, full: int = 1 << 30
) -> list[Sent]:
    """Which sessions of gateway ``me`` should go on at ``others``, at most ``most``; those first that cost most here.

    ``sights``: what each session here sees; ``movable`` bool[n]: those that may be sent. What a session costs is worth
    a move only if so many can follow that a region less is mirrored here: those are counted, too.
    """
    takers = {name: crowd for name, crowd in sorted(others.items()) if crowd.takes}
    if not takers or not len(sights) or not movable.any():
        return []
    own = len(sights)
    mean = (own + sum(crowd.sessions for crowd in takers.values())) / (len(takers) + 1)
    known, column = np.unique(sights.regions, return_inverse=True)
    first = sights.first[:-1]
    here = np.bincount(column).astype(np.float64)[column]
    cost = np.add.reduceat(1.0 / here, first)
    gain, best = np.zeros(own), np.full(own, -1)
    theirs, after = np.zeros(own), np.zeros(own)
    for number, (name, crowd) in enumerate(takers.items()):
        there = np.array([crowd.regions.get(region, 0.0) for region in known.tolist()])[column]
        its_theirs = np.add.reduceat(1.0 / np.maximum(there, 1.0), first)
        its_after = np.add.reduceat(1.0 / (there + 1.0), first)
        its_gain = cost - its_after + _load(own, mean) - _load(crowd.sessions + 1, mean)
        # Those who would have to follow; where nobody there sees anything of it, all who see it.
        followers = np.minimum.reduceat(np.where(there > 0.0, here, np.inf), first)
        followers = np.minimum(followers, np.maximum.reduceat(here, first))
        better = movable & _fits(name, followers, own, takers, full) & (its_gain > np.maximum(gain, GAIN_LEAST))
        gain[better], best[better] = its_gain[better], number
        theirs[better], after[better] = its_theirs[better], its_after[better]
    names = list(takers)
    sent: list[Sent] = []
    sizes = {name: crowd.sessions for name, crowd in takers.items()}
    for index in _together(sights, gain, best >= 0).tolist():
        if len(sent) == most:
            break
        name = names[best[index]]
        before, size = own - len(sent), sizes[name]
        margin = _margin(me, own, name, takers[name].sessions)
        pays = cost[index] + _load(before, mean)
        if (theirs[index] + _load(size, mean)) * margin > pays:
            continue
        if pays - after[index] - _load(size + 1, mean) <= GAIN_LEAST:
            continue  # some have gone, and this one would be one too many
        grown = {to: n for to, n in (sizes | {name: size + 1}).items() if n > takers[to].sessions}
        if all(n <= room(to, [before - 1], takers, full) for to, n in grown.items()):
            sizes[name] = size + 1
            sent.append(Sent(index, name))
    return sent


def _load(sessions: int, mean: float) -> float:
    """What a session costs for the sake of the others at a gateway that has so many."""
    return LOAD_REGIONS * max(0.0, sessions / mean - LOAD_PART) if mean else 0.0


def _margin(me: str, own: int, name: str, theirs: int) -> float:
    """How much less a session must cost at gateway ``name`` than at ``me``, as a factor."""
    takes_ties = name < me
    if own > MORE * theirs or theirs > MORE * own:
        takes_ties = theirs < own
    return 1.0 if takes_ties else MORE


def _together(sights: Sights, gain: F64, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Those ``chosen``: first the one that gains most, then those who see most of what it sees."""
    if not chosen.any():
        return np.zeros(0, np.int64)
    top = int(np.argmax(np.where(chosen, gain, -1.0)))
    shared = np.add.reduceat(np.isin(sights.regions, sights.of(top)).astype(np.int64), sights.first[:-1])
    order: npt.NDArray[np.int64] = np.lexsort((-gain, -shared))
    return order[chosen[order]]


def _fits(name: str, followers: F64, own: int, takers: Mapping[str, Crowd], full: int) -> npt.NDArray[np.bool_]:
    """Whether ``name`` has room for so many (float64[n]) of the ``own`` sessions of another gateway."""
    others = room(name, (), takers, full)
    least = np.minimum(others, LOAD_PART * (own - followers) + LOAD_REST)
    fits: npt.NDArray[np.bool_] = takers[name].sessions + followers <= least
    return fits
