"""Peers: what the engine keeps for each link on account of tokens made inside tokens.

A process refers to tokens that were made in it or that have come to it in results, and its threads
begin tokens on top of others. The link itself knows nothing of that: it carries records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import ItemsView, Iterable, Iterator, Mapping
from time import monotonic_ns

from tokengate_mp.ports import CoreLink
from tokengate_mp.scheduling.model.operation import Operation
from tokengate_mp.tokens.nested import NestedToken
from tokengate_mp.wire.protocol.records import ANSWER, HINT, Outcome, encode


class Peer:
    """The nested tokens of a link, and the tokens that its threads run.

    Args:
        link: The link.

    Attributes:
        link: The link.
        core: The number of its core.
        kept: By number, the nested tokens that the process refers to.
        kept_again: How often more than once the process refers to some of them.
        enrolled: By enrolment of the process, the operation that its calls count as.
        refusals: By enrolment, why its calls are ended; most are not.
        carried: By number of a token, the tokens that its outcome will refer to.
        begun: Tokens that threads have begun on top of others, each with the token below, or 0.
        on_top: By number of a token, the token that a thread has begun on top of it.
        shared: Whether another process of its core is, or has been, at work beside it.
        excused: Whether it was ended for the sake of a token: that is no sign of a fault.
        unsettled: Outcomes that were taken, and that there was no time to load.
        made: When the process was started, monotonic ns.
    """

    __slots__ = (
        "begun",
        "carried",
        "core",
        "enrolled",
        "excused",
        "kept",
        "kept_again",
        "link",
        "made",
        "on_top",
        "refusals",
        "shared",
        "unsettled",
    )

    def __init__(self, link: CoreLink) -> None:
        self.link = link
        self.core = link.core
        self.begun: dict[int, int] = {}
        self.on_top: dict[int, int] = {}
        self.kept: dict[int, NestedToken] = {}
        self.kept_again: Counter[int] = Counter()
        self.enrolled: dict[int, Operation] = {}
        self.refusals: dict[int, str] = {}
        self.carried: dict[int, list[NestedToken]] = {}
        self.shared = False
        self.excused = False
        self.made = monotonic_ns()
        self.unsettled: list[Outcome] = []

    @property
    def seat(self) -> int:
        """The seat of the link."""
        return self.link.seat

    # ---- the tokens that its threads run

    def running(self) -> list[int]:
        """Numbers of the tokens that its crew runs now, nested runs included."""
        return [*self.link.facts().running, *self.begun]

    def runs(self, number: int) -> bool:
        """Whether its crew runs a token now."""
        return number in self.begun or number in self.link.facts().running

    def waits(self) -> bool:
        """Whether all of its crew threads wait for tokens."""
        return self.link.waiting

    def begin_on_top(self, number: int, below: int) -> None:
        """Note that a thread has begun a token on top of another, or of 0."""
        self.begun[number] = below
        if below:
            self.on_top[below] = number

    def end_on_top(self, numbers: Iterable[int]) -> None:
        """Forget nested tokens whose outcome has arrived."""
        for number in numbers:
            below = self.begun.pop(number, 0)
            if self.on_top.get(below) == number:  # the next one may have begun by now
                del self.on_top[below]

    def unaccounted(self) -> dict[int, bool | None]:
        """By number, whether an unanswered token had begun at the end of the process."""
        return {**self.link.unaccounted(), **dict.fromkeys(self.begun, True)}

    # ---- what the process is told

    def answer(self, number: int, outcome: bytes) -> None:
        """Send the outcome of a nested token that the process refers to."""
        self.link.reply(number, encode((number, ANSWER, outcome)))

    def hint(self, number: int, dependencies: list[tuple[int, str]]) -> None:
        """Tell a thread that waits for a token which others that token depends on."""
        self.link.reply(number, encode((number, HINT, encode(dependencies))))


class Peers(Mapping[int, Peer]):
    """The peer on each seat; and that of any link.

    Args:
        links: The link on each seat, as the backend keeps them.
    """

    def __init__(self, links: Mapping[int, CoreLink]) -> None:
        self._links = links
        self._peers: dict[CoreLink, Peer] = {}

    def of(self, link: CoreLink) -> Peer:
        """The peer of a link, with a seat or without."""
        peer = self._peers.get(link)
        if peer is None:
            peer = self._peers[link] = Peer(link)
        return peer

    def begun_on_top(self, link: CoreLink) -> list[int]:
        """Numbers of the tokens that threads have begun on top of others; in any thread."""
        peer = self._peers.get(link)
        return [] if peer is None else list(peer.begun)

    def remove_peer(self, link: CoreLink) -> None:
        """Forget a link whose process has ended."""
        self._peers.pop(link, None)

    def items(self) -> ItemsView[int, Peer]:
        """The peer on each seat, with the seat, as of now."""
        # (A view as Mapping makes them asks for each peer by its seat again. Turns come here.)
        of = self.of
        return {seat: of(link) for seat, link in self._links.items()}.items()

    def __getitem__(self, seat: int) -> Peer:
        return self.of(self._links[seat])

    def __iter__(self) -> Iterator[int]:
        return iter(self._links)

    def __len__(self) -> int:
        return len(self._links)
