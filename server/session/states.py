"""The life of a session, as a table.

Theory of operation. A *connection* greets: it has said nothing yet, or its token waits for a fresh key. A *session*
is born when a HELLO is accepted; it has at most one connection at a time, and exactly one while it is admitting,
attaching or live. It waits for its turn (admitting), asks a shard for a body (attaching), and is told the world
(live). When its connection breaks, the body stays for the grace (detached); a resume ticket or the same identity
takes the session over on a new connection, which also works while the old connection still seems alive. Each ask for
a body raises the session's generation, so that whatever an older one caused can be told apart. An ended session never
comes back: its id is not used again.

      greeting ──accepted──▶ admitting ──paced──▶ attaching ──attached──▶ live
                                                      ▲                    │ dropped (reconnect now)
                                                      └──taken over── detached ──expired──▶ ended

A session that has a connection may be dismissed: by BYE, a refusal, a violation, a time limit. A connection that
fails to greet is closed; there is no session to end.
"""

from enum import Enum
from typing import Final


class State(Enum):
    """Where a session is. GREETING is a connection that has no session yet."""

    GREETING = "greeting"
    ADMITTING = "admitting"
    ATTACHING = "attaching"
    LIVE = "live"
    DETACHED = "detached"
    ENDED = "ended"


class Stimulus(Enum):
    """What moves it."""

    ACCEPTED = "accepted"
    """A HELLO with a version, an identity and a name that are in order, and room for it."""
    PACED = "paced"
    """Its turn has come."""
    ATTACHED = "attached"
    """The shard gave a body (or none is needed)."""
    DROPPED = "dropped"
    """The connection broke, or was closed with advice "reconnect now", and there is something to come back to."""
    TAKEN_OVER = "taken over"
    """Another connection proved to be the same."""
    EXPIRED = "expired"
    """The grace is over."""
    DISMISSED = "dismissed"
    """It ends, and the body with it."""


TRANSITIONS: Final[dict[tuple[State, Stimulus], State]] = {
    (State.GREETING, Stimulus.ACCEPTED): State.ADMITTING,
    (State.ADMITTING, Stimulus.PACED): State.ATTACHING,
    (State.ADMITTING, Stimulus.TAKEN_OVER): State.ADMITTING,
    (State.ADMITTING, Stimulus.DISMISSED): State.ENDED,
    (State.ATTACHING, Stimulus.ATTACHED): State.LIVE,
    (State.ATTACHING, Stimulus.TAKEN_OVER): State.ATTACHING,
    (State.ATTACHING, Stimulus.DROPPED): State.DETACHED,
    (State.ATTACHING, Stimulus.DISMISSED): State.ENDED,
    (State.LIVE, Stimulus.TAKEN_OVER): State.ATTACHING,
    (State.LIVE, Stimulus.DROPPED): State.DETACHED,
    (State.LIVE, Stimulus.DISMISSED): State.ENDED,
    (State.DETACHED, Stimulus.TAKEN_OVER): State.ATTACHING,
    (State.DETACHED, Stimulus.EXPIRED): State.ENDED,
    (State.DETACHED, Stimulus.DISMISSED): State.ENDED,
}


class ForbiddenTransition(Exception):
    """A bug of ours: this cannot happen to a session in this state."""


def after(state: State, stimulus: Stimulus) -> State:
    """The state that follows. Raises ForbiddenTransition."""
    try:
        return TRANSITIONS[state, stimulus]
    except KeyError:
        raise ForbiddenTransition(f"{stimulus.value} in state {state.value}") from None
