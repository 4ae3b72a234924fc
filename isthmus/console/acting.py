"""What operators ask, carried out: by the functions of ``isthmus region`` and ``drain``, or by an order that all
gateways follow.

Decides which request becomes what, and when it counts as done. Invariant: what cannot be done ends in :class:`NotDone`
(or what the store and the keeper raise) with a text that says why. Not responsible for: who may ask, the log
(``desk``)."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from cluster.orders import ORDERS, Ban, Broadcast, Kick, Mute, ProfileChange
from cluster.store.contract import Store
from isthmus.config import OPTIONS, Config
from isthmus.config.options import BadValue, from_toml
from isthmus.config.relations import broken_relations
from isthmus.console.keeping import Keeper
from isthmus.operate import NotDone, drain, merge_region, move_region, split_region
from server.console.access import Operator
from server.console.people import key_of_session
from server.console.requests import (
    BanSession,
    ChangeProfile,
    DrainMember,
    KickSession,
    MergeRegion,
    MoveRegion,
    MuteSession,
    Request,
    SayToAll,
    SplitRegion,
    Unban,
    Unmute,
)
from server.core.gateway import GatewayCore
from server.core.profiles import WHOLE

SEEN_S = 10.0
"""By then every gateway has heard of an order."""
LOOK_S = 0.05
HOUR_S = 3600.0


@dataclass(slots=True)
class Acting:
    """``store``: of a cluster, None in a world of one process; ``config``: what profiles are checked by."""

    core: GatewayCore
    keeper: Keeper
    store: Store | None
    config: Config
    _broadcasts: int = 0

    async def carry_out(self, operator: Operator, request: Request) -> str:
        """Do it; returns what came of it. Raises NotDone, OrdersUnusable, StoreError, OSError."""
        match request:
            case MoveRegion():
                return await move_region(self._store(), request.region, request.to)
            case SplitRegion():
                return await split_region(self._store(), request.region)
            case MergeRegion():
                return await merge_region(self._store(), request.region)
            case DrainMember():
                return await drain(self._store(), request.member)
            case KickSession():
                return await self._kick(operator, request)
            case BanSession():
                key, name = self._identity(request.session)
                order = Ban(key, _until(request.hours), request.reason, operator.name, name)
                await self.keeper.give(order)
                gone = await self._gone(int(request.session))
                return f"{name} is banned {_for_how_long(request.hours)}" + ("" if gone else ", and still here")
            case MuteSession():
                key, name = self._identity(request.session)
                mute = Mute(key, _until(request.hours), request.reason, operator.name, name)
                await self.keeper.give(mute)
                return f"{name} is muted {_for_how_long(request.hours)}"
            case Unban():
                return await self._take_back(f"{ORDERS}ban/{request.key}", "ban")
            case Unmute():
                return await self._take_back(f"{ORDERS}mute/{request.key}", "mute")
            case SayToAll():
                self._broadcasts += 1
                number = time.time_ns() // 1_000_000 * 1000 + self._broadcasts % 1000
                await self.keeper.give(Broadcast(number, request.text, operator.name))
                return f"said to {self.core.sessions.online} people, and whoever looks on"
            case ChangeProfile():
                return await self._change(operator, request)

    def _store(self) -> Store:
        if self.store is None:
            raise NotDone("this world is one process: it has one region and nothing to move, split, merge or drain")
        return self.store

    def _identity(self, session: str) -> tuple[bytes, str]:
        found = key_of_session(self.core, int(session))
        if found is None:
            raise NotDone(f"there is no session {session}")
        return found

    async def _kick(self, operator: Operator, request: KickSession) -> str:
        _, name = self._identity(request.session)
        await self.keeper.give(Kick(int(request.session), request.reason, operator.name))
        if not await self._gone(int(request.session)):
            raise NotDone(f"the session of {name} has not ended within {SEEN_S:g} s")
        return f"the session of {name} has ended"

    async def _gone(self, session: int) -> bool:
        return await _comes_true(lambda: key_of_session(self.core, session) is None)

    async def _take_back(self, key: str, what: str) -> str:
        if not await self.keeper.take_back(key):
            raise NotDone(f"there is no such {what}")
        return f"the {what} counts no more"

    async def _change(self, operator: Operator, request: ChangeProfile) -> str:
        name = request.profile
        if name not in self.core.profiles:
            raise NotDone(f"there is no profile {name!r}; there are {', '.join(sorted(self.core.profiles))}")
        checked_profile(self.config, name, request.values)
        if not request.values:
            await self.keeper.take_back(f"{ORDERS}profile/{name}")
            return f"profile {name} is as configured"
        await self.keeper.give(ProfileChange(name, dict(request.values), operator.name))
        told = ", ".join(f"{field} = {value:g}" for field, value in sorted(request.values.items()))
        return f"profile {name}: {told}"


def checked_profile(config: Config, name: str, values: Mapping[str, float]) -> Config:
    """``config`` with a changed profile. Raises NotDone with what the configuration's own checks say of it."""
    area = f"profile_{name}"
    said: dict[str, object] = {}
    for field, value in values.items():
        option = OPTIONS.get(f"{area}.{field}")
        if option is None:
            raise NotDone(f"a profile has no {field!r}")
        if field in WHOLE and value != int(value):
            raise NotDone(f"{field}: {value:g} is no whole number")
        try:
            said[field] = from_toml(option, int(value) if field in WHOLE else value)
        except BadValue as problem:
            raise NotDone(f"{field}: {problem}") from None
    changed = replace(config, **{area: replace(getattr(config, area), **said)})
    problems = list(broken_relations(changed, "the running configuration", lambda path: True))
    if problems:
        raise NotDone("; ".join(str(problem) for problem in problems))
    return changed


async def _comes_true(holds: Callable[[], bool]) -> bool:
    end_s = time.monotonic() + SEEN_S
    while not holds():
        if time.monotonic() >= end_s:
            return False
        await asyncio.sleep(LOOK_S)
    return True


def _until(hours: float) -> float:
    return round(time.time() + hours * HOUR_S, 1) if hours else 0.0


def _for_how_long(hours: float) -> str:
    return f"for {hours:g} h" if hours else "until that is taken back"
