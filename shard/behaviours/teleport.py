"""Teleport: a jump to a place that one points at, for those whom smooth walking in a headset makes sick.

    Teleport(script, range_m=8.0)

A client asks by the act ``teleport {x, z}`` (metres), and the world decides: within range, on ground on which a person
can stand, and as often as people do. Invariant: who was moved is told so with its next own state (flag 2), so that its
client does not take it for its own mistake. Not responsible for: snap turns (yaw is in a client's own commands).
"""

from math import hypot, isfinite, nan
from typing import TYPE_CHECKING, Any

from shard.behaviours.api import DeclarationError, Refused, Script

if TYPE_CHECKING:
    from shard.behaviours.world import Rows, World

EVERY_S = 0.25
"""Not faster than a hand points: who jumps on and on would run faster than anybody."""


class Teleport:
    """Gives a script the action ``teleport``."""

    def __init__(self, script: Script, range_m: float = 8.0) -> None:
        if not 0 < range_m <= 100:
            raise DeclarationError(f"teleport: range_m is above 0 and at most 100, got {range_m}")
        self._range_m = range_m
        script.extend("person", [script.component("teleported", "i8", persist=False, default=-(1 << 40))])
        script.action("teleport")(self.teleport)

    def teleport(self, world: "World", rows: "Rows", payloads: list[Any]) -> list[Any]:
        """``{x, z}``. Answers ``{x, z}``: where the body is now."""
        payload = payloads[0] if isinstance(payloads[0], dict) else {}
        x, z = (_metres(payload.get(axis)) for axis in ("x", "z"))
        if not (isfinite(x) and isfinite(z)):
            raise Refused("the payload is a map with x and z (metres)")
        if world.parents(rows.id)[0] != 0:
            raise Refused("stand up first")
        if world.tick - int(rows.teleported[0]) < EVERY_S * world.rate_hz:
            raise Refused("not so fast")
        if hypot(x - rows.pos[0, 0], z - rows.pos[0, 2]) > self._range_m:
            raise Refused(f"it is more than {self._range_m:g} m away")
        if not world.fits(x, z)[0]:
            raise Refused("nobody can stand there")
        rows.teleported[:] = world.tick
        world.move(rows.id, [[x, 0.0, z]])
        return [{"x": x, "z": z}]


def _metres(value: Any) -> float:
    """NaN for what is no number."""
    return float(value) if isinstance(value, float | int) and type(value) is not bool else nan
