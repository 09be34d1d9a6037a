"""The port between the engine and what runs its tokens.

The engine knows tokens, turns and the scheduler. What stands behind a *seat* of the ledger (a core
process of this machine; a process that only finishes what it holds; a node of a cluster; a fake in
a test) it knows as a `CoreLink`, and all of them together as a `CoreBackend`. A backend says what
happens through `BackendEvents`, which the engine implements. All calls, either way, are made in the
thread of the engine's event loop. What a view of the engine reads is read in any thread: `links`,
`facts()` and the counts of a backend are atomic reads, or copies that are made by one.

    engine ── CoreBackend ──▶ open, replace, relieve, dismiss, condemn, stop
       │ └─── CoreLink ─────▶ send, define, forget, reply, interrupt, recall, take, may_sleep
       ◀──── BackendEvents ── launched, heard, took_over, exited, given_up, …

What arrives from a core is taken apart and checked behind the port: a `Portion` holds records that
can be believed as far as one core by itself can be checked. Whether they fit the accounts is the
engine's to see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.wire.arena.regions import ParentArena
from tokengate_mp.wire.payload.attachments import AttachedRecord
from tokengate_mp.wire.protocol.records import Outcome

Record = bytes | AttachedRecord
"""An encoded request, with its attachments if it has any."""


class CoreFacts(NamedTuple):
    """The state of a core process at some moment; readable from any thread.

    Attributes:
        ready: Whether the process was seen to take requests.
        running: Numbers of the tokens that crew threads have noted as begun.
        waiting: Whether every crew thread waits for a token.
        pid: Process id; None for what is no process of this machine.
        dropped: Pieces of output and log records that were dropped so far.
    """

    ready: bool
    running: tuple[int, ...]
    waiting: bool
    pid: int | None
    dropped: int


class Portion:
    """Records of a core that are settled together, taken apart and checked.

    The blocks and token references that answered requests were lent stay alive for as long as the
    portion does: what the core says in it may still name them.

    Attributes:
        outcomes: Of tokens: VALUE, PICKLED or RAISED, in the order of their arrival.
        plain: Whether all outcomes are VALUE, and there is nothing else.
        announcements: What the core says of tokens made inside tokens, in order.
        given_back: Numbers of tokens that the core has not begun, and returns.
        dropped: Numbers of tokens that had been ended, and were interrupted or never begun.
        cut: By number of a batch: how many items its outcome will have.
        hungry: Whether crew threads are free while every running token blocks.
        more: Whether more has been read from the core, and can be taken.
        released: Attachments of the requests that are answered here.
    """

    __slots__ = (
        "announcements",
        "cut",
        "dropped",
        "given_back",
        "hungry",
        "more",
        "outcomes",
        "plain",
        "released",
    )

    def __init__(self, outcomes: list[Outcome], *, plain: bool) -> None:
        self.outcomes = outcomes
        self.plain = plain
        self.announcements: list[Outcome] = []
        self.given_back: list[int] = []
        self.dropped: list[int] = []
        self.cut: dict[int, int] = {}
        self.hungry = False
        self.more = False
        self.released: list[object] = []


class Ending(NamedTuple):
    """How a process ended.

    Attributes:
        pid: Process id; None for what was no process of this machine.
        exitcode: Exit code, or the negative number of a signal; None where nobody knows.
        because: Why it was ended, if the engine or its backend did that; else empty.
    """

    pid: int | None
    exitcode: int | None
    because: str


class CoreLink(Protocol):
    """A core process, or a node, as the engine sees cores.

    A core process has a seat in the ledger (see `scheduling.cores.handover`), and a width of 1.
    """

    @property
    def core(self) -> int:
        """The number of the core, from 1."""
        raise NotImplementedError

    @property
    def seat(self) -> int:
        """The key of its book in the ledger; 0 before the first handover."""
        raise NotImplementedError

    @property
    def width(self) -> int:
        """How many CPUs' worth of tokens run behind the link."""
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        """Whether the process was seen to take requests."""
        raise NotImplementedError

    @property
    def waiting(self) -> bool:
        """Whether every crew thread waits for a token, as in its facts."""
        raise NotImplementedError

    def send(self, tickets: Sequence[Ticket], records: Sequence[Record], *, attached: bool) -> None:
        """Send requests, in order; never blocks.

        Args:
            tickets: The tokens.
            records: Their requests.
            attached: Whether a record may have attachments, which are lent until it is answered.
        """

    def define(self, index: int, definition: bytes) -> None:
        """Make a function known under an index, before any later request."""

    def forget(self, index: int) -> None:
        """Let the process drop the function of an index."""

    def reply(self, number: int, record: bytes) -> None:
        """Send an answer or a hint about the nested token of that number."""

    def interrupt(self, number: int) -> None:
        """End the run of a token, or keep the token from beginning."""

    def recall(self) -> None:
        """Ask for everything back that has not begun."""

    def take(self) -> Portion | None:
        """Take the next portion of records; None if there is nothing.

        What the core has published is read when all that was read before has been taken.

        Raises:
            WireError: The process wrote something that makes no sense.
        """

    def may_sleep(self, held: int) -> bool:
        """Ask to be woken at news; False if there is some that has to be taken first.

        News that the core is about to ring for anyway need not be taken.

        Args:
            held: How many tokens the core has to answer for.
        """

    def has_news(self) -> bool:
        """Whether outcomes were published that have not been taken."""

    def facts(self) -> CoreFacts:
        """The present state of the process."""

    def unaccounted(self) -> Mapping[int, bool | None]:
        """Tokens that an ended process leaves unanswered, once every portion was taken.

        Returns:
            By number of a token that was sent and not answered for: whether it had begun; None
            where nobody knows. One that is missing had not.
        """


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Why a core gets no more processes.

    Attributes:
        reason: A sentence for people.
        refusal: What the initializer raised, as an encoded failure; empty if it did not.
    """

    reason: str
    refusal: bytes = b""


class BackendEvents(Protocol):
    """Events that a backend tells its engine, in the thread of the event loop."""

    def launched(self, link: CoreLink) -> None:
        """A process was started; requests that are sent now are read once the process is up."""

    def heard(self, link: CoreLink) -> None:
        """A core has news: portions can be taken."""

    def look_around(self) -> None:
        """News may be there without a bell: take portions from every link."""

    def took_over(self, link: CoreLink) -> None:
        """A link has the seat of its core, and its process is up."""

    def exited(self, link: CoreLink, ending: Ending) -> bool:
        """A process has ended; its last portions can still be taken.

        Returns:
            Whether it had made progress: only others count towards giving up its core.
        """

    def given_up(self, core: int, given_up: GivenUp) -> None:
        """A core gets no more processes."""

    def irreplaceable(self, core: int) -> None:
        """No process can be started that would take over from a core's."""

    def draining(self, link: CoreLink) -> None:
        """A link is about to go: send nothing more, and recall unbegun tokens."""

    def suspect(self, link: CoreLink) -> None:
        """Nothing is heard from a link: send nothing more, and wait."""

    def recovered(self, link: CoreLink) -> None:
        """A suspect link is heard again."""

    def operation_of(self, core: int, number: int) -> str | None:
        """The operation of a token; None if the core does not hold the token."""


class CoreBackend(Protocol):
    """The cores of an engine: starts, watches, replaces and ends the processes behind links."""

    @property
    def links(self) -> Mapping[int, CoreLink]:
        """The link on each seat."""
        raise NotImplementedError

    @property
    def successors(self) -> Mapping[int, CoreLink]:
        """By core, the link that is to take over."""
        raise NotImplementedError

    @property
    def irreplaceable_cores(self) -> Mapping[int, str]:
        """Cores whose process cannot be replaced while well, each with the reason."""
        raise NotImplementedError

    @property
    def arena(self) -> ParentArena | None:
        """Shared memory for large payloads; None if there is none."""
        raise NotImplementedError

    @property
    def restarts(self) -> Mapping[int, int]:
        """By core, how many processes took the place of a process that ended by itself."""
        raise NotImplementedError

    @property
    def recycled(self) -> Mapping[int, int]:
        """By core, how many processes were relieved while well."""
        raise NotImplementedError

    def open(self, events: BackendEvents) -> None:
        """Start the first core's process now, and the others as the loop goes round.

        Raises:
            CoreStartError: It cannot be started.
        """

    def start_next(self) -> None:
        """Start the process of the next core that has had none, if any."""

    def start_rest(self) -> None:
        """Start the processes of all cores that have had none."""

    def all_links(self) -> Sequence[CoreLink]:
        """Links of all processes, including successors without a seat."""

    def replace(self, core: int) -> None:
        """Start a process that is to take over from a core's while that is well."""

    def renew(self) -> None:
        """Have processes that are started from now on begin with the surroundings of now.

        Raises:
            CoreStartError: What they begin with cannot be found out.
        """

    def is_replacing(self, core: int) -> bool:
        """Whether a core's successor was started, or will be in a moment."""

    def relieve(self, core: int, seat: int) -> None:
        """Let a core's successor take over; the old link goes on under `seat` until dismissed."""

    def dismiss(self, link: CoreLink) -> None:
        """End a relieved process that holds nothing any more."""

    def condemn(self, link: CoreLink, because: str, *, distrusted: bool = False) -> None:
        """End a process by force; its exit is told like any other.

        Args:
            link: The link.
            because: Why, for the errors of its tokens.
            distrusted: Whether what it wrote before, and was not taken, is worth nothing.
        """

    def return_results(self) -> None:
        """Tell cores which of their results nobody refers to any more."""

    def hear_output(self) -> None:
        """Hand on everything that functions have printed and logged so far."""

    def dropped_output(self) -> Mapping[int, int]:
        """By core, how many pieces of output were dropped."""

    def stop(self, signal: int | None = None) -> None:
        """End all processes, by request and after `grace` by force; blocks until all are gone.

        Args:
            signal: What they are sent in place of the request.
        """

    def abandon(self) -> None:
        """Let go of everything in a fork: the parent keeps its cores."""
