"""The list of sessions that operators see: those of this gateway in full, those of others as these have told of them.

Decides what a search finds, the order, and the page. Invariant: an answer has PAGE_MAX rows at most. Not responsible
for: who may ask.
"""

from collections.abc import Callable
from typing import Any

from protocol.layouts import GRID_PER_M
from server.core.gateway import GatewayCore
from server.session.record import Session
from server.session.roster import Listed, digest

PAGE_MAX = 100
QUERY_CHARS_MAX = 100


def people(
    core: GatewayCore, here: str, gateway_name: Callable[[int], str | None], query: str, page: int, size: int
) -> dict[str, Any]:
    """Sessions whose name contains ``query``, or whose number, body or subject it is; ``page`` counts from 0.
    ``gateway_name`` tells the member's name of a gateway's number."""
    size = min(max(size, 1), PAGE_MAX)
    wanted = query.strip()[:QUERY_CHARS_MAX].casefold()
    found: list[tuple[str, int, Session | Listed]] = [
        (session.name.casefold(), session.id, session)
        for session in core.sessions.all
        if not wanted or _matches(session, wanted)
    ]
    found += [
        (listed.person.name.casefold(), listed.person.session, listed)
        for listed in core.sessions.all_elsewhere
        if not wanted
        or wanted in listed.person.name.casefold()
        or wanted in (str(listed.person.session), str(listed.person.body))
    ]
    found.sort(key=lambda entry: entry[:2])
    total = len(found)
    page = min(max(page, 0), max(0, (total - 1) // size))
    rows = [
        _own(core, entry, here) if isinstance(entry, Session) else _other(entry, gateway_name(entry.gateway))
        for _, _, entry in found[page * size : (page + 1) * size]
    ]
    return {"total": total, "page": page, "size": size, "sessions": rows}


def _matches(session: Session, wanted: str) -> bool:
    if wanted in session.name.casefold():
        return True
    return wanted in (str(session.id), str(session.body or ""), session.identity.subject.casefold())


def _own(core: GatewayCore, session: Session, here: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        # Numbers of sessions and bodies as text: JavaScript's numbers end at 2**53.
        "session": str(session.id),
        "body": None if session.body is None else str(session.body),
        "name": session.name,
        "profile": session.profile,
        "state": session.state.name.lower(),
        "gateway": here,
        "here": True,
        "subject": session.identity.subject,
        "issuer": session.identity.issuer,
        "muted": core.sessions.moderation.muted(session.identity) is not None,
    }
    if session.conn is not None:
        view = core.views.state.views[session.conn]
        x_m, z_m = int(view["x"]) / GRID_PER_M, int(view["z"]) / GRID_PER_M
        told |= {
            "x_m": round(x_m, 1),
            "z_m": round(z_m, 1),
            "region": region_at(core, x_m, z_m),
            "told_of": int(view["live"]),
            "rtt_ms": int(view["rtt_ms"]) if view["rtt_window_end_ms"] else None,
            "written_bytes": int(view["written_bytes"]),
            "by_datagrams": session.conn >= core.views.sent.first,
        }
    return told


def region_at(core: GatewayCore, x_m: float, z_m: float) -> int:
    """The region at a place; 1, the whole, in a world of one process."""
    return 1 if core.partition is None else int(core.partition.region_at(x_m, z_m))


def _other(listed: Listed, gateway: str | None) -> dict[str, Any]:
    person = listed.person
    return {
        "session": str(person.session),
        "body": str(person.body) if person.body else None,
        "name": person.name,
        "gateway": gateway or f"number {listed.gateway}",
        "here": False,
    }


def key_of_session(core: GatewayCore, session: int) -> tuple[bytes, str] | None:
    """Digest of the identity and name of a session of any gateway; None if there is none."""
    own = core.sessions.find(session)
    if own is not None:
        return digest(own.key), own.name
    listed = core.sessions.find_elsewhere(session)
    return None if listed is None else (listed.person.key, listed.person.name)
