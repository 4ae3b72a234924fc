"""A placer's process without its I/O: membership, candidacy and failsafe, composed. Told what the store, the links and
the clock say; returns what to ask and to send.

Decides which word goes to whom. Invariant: it owns no region, so it never asks others for consent; it gives its own.
Not responsible for: who should own what (``placer``, ``plan``), reaching anybody.
"""

from collections import Counter
from collections.abc import Sequence

from cluster.asks import Answer, Ask
from cluster.failsafe import FailsafeCore, Tell
from cluster.member import LEASE_S, MemberCore
from cluster.out import Out
from cluster.placer import AskMerge, AskMove, AskSplit, PlacerCore
from cluster.records import MemberRecord
from cluster.regions import Layout
from cluster.store.contract import WatchItem
from protocol import failsafe as failsafe_words
from protocol import moving as moving_words
from protocol.carried import Kind, Send
from protocol.codes import ProtocolViolation


class PlacerProcess:
    """One candidate for placing."""

    def __init__(
        self, name: str, record: MemberRecord, layout: Layout, level_max: int | None = None, lease_s: int = LEASE_S
    ) -> None:
        self.name = name
        self.layout = layout
        self.member = MemberCore(name, record, lease_s)
        self.placer = PlacerCore(layout, level_max)
        self.failsafe = FailsafeCore(name)
        self.counts: Counter[str] = Counter()
        """For metrics: moves asked for."""

    def watched(self, item: WatchItem, now_s: float) -> Out:
        """The watch of the namespace told something."""
        return self._out("member", self.member.watched(item, now_s))

    def answered(self, whose: str, number: int, answer: Answer, now_s: float) -> Out:
        """The answer to ``asks``; ``whose`` and the number as they were given there."""
        core = self.member if whose == "member" else self.placer
        return self._out(whose, core.answered(number, answer, now_s))

    def received(self, member: str, kind: Kind, data: bytes, now_s: float) -> Out:
        """A message of another member. Raises ProtocolViolation: the link must then be reset."""
        if kind is not Kind.FAILSAFE:
            raise ProtocolViolation("link", f"a placer takes no messages of kind {kind.name}")
        word, own = failsafe_words.decode(data), self.member
        return self._out("failsafe", self.failsafe.heard(member, word, own.book, own.answered_s, now_s))

    def link_up(self, member: str, now_s: float) -> Out:
        """There is a link to a member."""
        return Out()

    def link_down(self, member: str, now_s: float) -> Out:
        """The link to a member broke: nothing hangs on it, requests are said again."""
        return Out()

    def link_refused(self, member: str, generation: int, address: str, now_s: float) -> Out:
        """A member that ended its link listens no more where it did."""
        return self._out("member", self.member.refused(member, generation, address, now_s))

    def tick(self, tick: int, now_s: float) -> Out:
        """Time passed."""
        out = self._out("member", self.member.tick(now_s))
        placed = self._out("placer", self.placer.tick(self.member, now_s))
        return Out(out.asks + placed.asks, out.sends + placed.sends)

    def leave(self, now_s: float) -> Out:
        """End: the lease is given back, and with it the placing."""
        return self._out("member", self.member.leave())

    def _out(self, whose: str, actions: Sequence[object]) -> Out:
        out = Out()
        for action in actions:
            match action:
                case Ask():
                    out.asks.append((whose, action))
                case Tell():
                    out.sends.append(Send(action.member, Kind.FAILSAFE, 0, failsafe_words.encode(action.word)))
                case AskSplit():
                    out.sends.append(self._move(action.owner, moving_words.Split(action.region, action.epoch)))
                    self.counts["split asked"] += 1
                case AskMerge():
                    out.sends.append(self._move(action.owner, moving_words.Merge(action.region, action.epochs)))
                    self.counts["merge asked"] += 1
                case AskMove():
                    please = moving_words.Please(action.region, action.epoch, action.to)
                    out.sends.append(self._move(action.owner, please))
                    self.counts["move asked"] += 1
        return out

    @staticmethod
    def _move(owner: str, word: moving_words.Word) -> Send:
        return Send(owner, Kind.MOVE, 0, moving_words.encode(word))
