"""Cores without processes: the port of the engine, with a test behind it.

A `FakeLink` holds the requests that it was sent. The test says what becomes of them: begun,
finished, failed, dropped, given back, cut; and what the tokens in there make: calls, claims, and so
on. All of that goes through the real records and the real inbox, so only the ring and the process
are missing. A `FakeBackend` has a link for each core, and tells the engine of what the test does to
them.

Nothing happens by itself but for the bell: a link that was asked to ring does so, in the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

from tokengate_mp.calls.token_function import TokenFunction
from tokengate_mp.cores.inbox import Inbox
from tokengate_mp.cores.leases import Leases
from tokengate_mp.ports import BackendEvents, CoreFacts, CoreLink, Ending, GivenUp, Portion, Record
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.wire.arena.regions import ParentArena
from tokengate_mp.wire.payload.codec import NOT_MSGPACK, SCALARS, loads, to_pickle
from tokengate_mp.wire.payload.definition import define, resolve
from tokengate_mp.wire.protocol.failures import failure
from tokengate_mp.wire.protocol.pending_call import PlaceholderCall
from tokengate_mp.wire.protocol.records import (
    ANSWER,
    BEGUN,
    BLOCKED,
    CALL,
    CARRY,
    CHAINED,
    CLAIM,
    CUT,
    DROP,
    DROPPED,
    ENROL,
    GIVEN_BACK,
    KILL,
    LINK,
    NESTED_BITS,
    PICKLED,
    RAISED,
    VALUE,
    WANT,
    Enrolment,
    Outcome,
    Request,
    Stream,
    decode_link,
    decode_needs,
    decode_outcome,
    decode_request,
    encode,
)

MS = 1_000_000
"""A millisecond, ns."""

FIRST_PID = 70_000
"""Process ids of fakes begin here; none of them is looked at."""


class FakeLink:
    """One process of a core, played by a test.

    Args:
        loop: The loop in which the bell is heard.
        core: The number of the core.
        process: Which process this is of all, from 1.
        came_up: Called when the process is first seen to take requests.
        rang: Called, in the loop, when the process has rung.

    Attributes:
        core: The number of the core.
        seat: The seat in the ledger; 0 before it has one.
        width: 1.
        ready: Whether the process was seen to take requests.
        up: Whether the process takes requests.
        pid: Process id.
        unbegun: Requests that were sent and not begun, by number, in their order.
        running: Requests that threads run, by number.
        on_top: By number of a nested token that a waiting thread runs, the token below, or 0.
        doubtful: Numbers of which nobody will know, at the end, whether they had begun.
        interrupted: Numbers of tokens that are to end.
        waiting: Whether every thread waits for a token.
        recalls: How often what has not begun was asked for.
        definitions: The functions that the process knows, by index.
        answers: By number of a nested token, what the process was told of its end.
        hints: By number of a nested token, the tokens that it depends on, as told.
        condemned: Why the process was ended; empty if it was not.
        leases: What the process is lent.
    """

    width = 1

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        core: int,
        process: int,
        came_up: Callable[[FakeLink], object],
        rang: Callable[[FakeLink], object],
    ) -> None:
        self.core = core
        self.seat = 0
        self.ready = self.up = False
        self.pid = FIRST_PID + process
        self.unbegun: dict[int, Request] = {}
        self.running: dict[int, Request] = {}
        self.on_top: dict[int, int] = {}
        self.doubtful: set[int] = set()
        self.interrupted: list[int] = []
        self.waiting = False
        self.recalls = 0
        self.definitions: dict[int, bytes] = {}
        self.answers: dict[int, list[Outcome]] = {}
        self.hints: dict[int, list[tuple[int, str]]] = {}
        self.condemned = ""
        self.leases = Leases(None, None)
        self._loop = loop
        self._came_up = came_up
        self._rang = rang
        self._hungry = False
        self._armed = True
        self._written: list[bytes] = []
        self._inbox = Inbox(core, self.leases)
        self._stream = Stream(Outcome, checked=False)
        self._numbers = count(process << NESTED_BITS | 1)
        self._indices = count(process << NESTED_BITS)
        self._enrolments: list[int] = []

    def __repr__(self) -> str:
        return f"<FakeLink core {self.core} seat {self.seat} pid {self.pid}>"

    # ---- the port

    def send(self, tickets: Sequence[Ticket], records: Sequence[Record], *, attached: bool) -> None:
        """Take requests."""
        numbers = [ticket.number for ticket in tickets]
        plain = self.leases.lend(numbers, records)
        assert attached or plain == list(records), "a record has attachments, and none were said"
        for number, record in zip(numbers, plain, strict=True):
            request = decode_request(record)
            assert request.number == number, "a record is another token's"
            assert number not in self.held, f"{number} was sent before, and not answered"
            self.unbegun[number] = request

    def define(self, index: int, definition: bytes) -> None:
        """Learn a function."""
        self.definitions[index] = definition

    def forget(self, index: int) -> None:
        """Drop a function."""
        self.definitions.pop(index, None)

    def reply(self, number: int, record: bytes) -> None:
        """Take an answer or a hint about a nested token."""
        request = decode_request(record)
        assert isinstance(request.arguments, bytes), "both are encoded"
        if request.function == ANSWER:
            self.answers.setdefault(number, []).append(decode_outcome(request.arguments))
        else:
            self.hints[number] = decode_needs(request.arguments)

    def interrupt(self, number: int) -> None:
        """Take note that a token is to end."""
        self.interrupted.append(number)

    def recall(self) -> None:
        """Take note that everything unbegun is asked for."""
        self.recalls += 1

    def take(self) -> Portion | None:
        """Give the next portion of what was written."""
        if self.up and not self.ready:
            self.ready = True
            self._came_up(self)
        if not self._inbox.arrived and self._written:
            written, self._written = self._written, []
            self._inbox.arrived += self._stream.records(len(written), b"".join(written))
        portion = self._inbox.next_portion()
        if portion is not None:
            portion.more = bool(self._inbox.arrived)
        if self._hungry:
            portion = portion or Portion([], plain=True)
            portion.hungry, self._hungry = True, False
        return portion

    def may_sleep(self, held: int) -> bool:
        """Arm the bell, unless there is news."""
        del held
        self._armed = True
        return not (self.has_news() or self._inbox.arrived or self._hungry)

    def has_news(self) -> bool:
        """Whether anything was written that has not been read."""
        return bool(self._written)

    def facts(self) -> CoreFacts:
        """The state of the process."""
        return CoreFacts(self.ready, tuple(self.running), self.waiting, self.pid, 0)

    def unaccounted(self) -> Mapping[int, bool | None]:
        """What the process had begun, or may have."""
        return {**dict.fromkeys(self.running, True), **dict.fromkeys(self.doubtful, None)}

    # ---- what the test does to tokens

    @property
    def held(self) -> list[int]:
        """Numbers of all tokens that the process was sent, or runs on top, and has not answered."""
        return [*self.unbegun, *self.running, *self.on_top]

    def begin(self, token: Any) -> int:
        """Have a thread begin a token; its number is returned."""
        number = _number(token)
        if number in self.unbegun:
            self.running[number] = self.unbegun.pop(number)
        return number

    def finish(self, token: Any, value: Any = None, ns: int = MS, *, blocked: bool = False) -> None:
        """Finish a token with a value, which travels as from a real core."""
        kind, travelling = VALUE, value
        if type(value) not in SCALARS:
            kind, travelling = PICKLED, to_pickle(value)
        try:
            self._answer(token, kind | BLOCKED * blocked, travelling, ns)
        except NOT_MSGPACK:
            self._answer(token, PICKLED | BLOCKED * blocked, to_pickle(value), ns)

    def finish_pickled(self, token: Any, pickled: bytes, ns: int = MS) -> None:
        """Finish a token with a value that is pickled already, however that was done."""
        self._answer(token, PICKLED, pickled, ns)

    def fail(self, token: Any, error: BaseException, ns: int = MS) -> None:
        """Let a token raise an error, which travels as from a real core."""
        self._answer(token, RAISED, failure(error), ns)

    def perform(self, token: Any) -> None:
        """Call the function of a token, in this process, and finish or fail it with the outcome."""
        number = self.begin(token)
        request = self.running[number]
        if request.function == CHAINED:
            assert isinstance(request.arguments, bytes)
            request = decode_request(decode_link(request.arguments).request)
        call, arguments = resolve(self.definitions[request.function]), request.arguments
        try:
            if isinstance(arguments, bytes):
                args, kwargs = loads(arguments)
                value = call(*args, **kwargs)
            else:
                value = call(*arguments)
            self.finish(number, value)
        except BaseException as error:  # noqa: BLE001 - what it raises, or its value, is the outcome
            self.fail(number, error)

    def _answer(self, token: Any, kind: int, value: Any, ns: int) -> None:
        number = self.begin(token)
        now = round(self._loop.time() * 1e9)
        record = encode((number, kind, now - ns, now, value))
        self._remove(number)
        self.write(record)

    def drop(self, *tokens: Any) -> None:
        """Drop tokens that are to end: interrupt those that run, and never begin the others."""
        for token in tokens:
            number = _number(token)
            self._remove(number)
            self.write(encode((number, DROPPED, 0, 0, None)))

    def heed(self) -> list[int]:
        """Drop all tokens that are to end and are held; their numbers."""
        numbers, self.interrupted = self.interrupted, []
        heeded = [number for number in dict.fromkeys(numbers) if number in self.held]
        self.drop(*heeded)
        return heeded

    def give_back(self, *tokens: Any) -> list[int]:
        """Give back tokens that have not begun, by default all; their numbers."""
        numbers = [_number(token) for token in tokens] or list(self.unbegun)
        for number in numbers:
            del self.unbegun[number]
            self.write(encode((number, GIVEN_BACK, 0, 0, None)))
        return numbers

    def cut(self, token: Any, items: int) -> None:
        """Say that the outcome of a batch will be of so many items."""
        self.write(encode((_number(token), CUT, 0, 0, items)))

    def be_hungry(self) -> None:
        """Say that threads are free while every running token blocks."""
        self._hungry = True
        self._ring()

    def _remove(self, number: int) -> None:
        for held in (self.unbegun, self.running, self.on_top):
            held.pop(number, None)
        self.doubtful.discard(number)

    # ---- what tokens in there do

    def enrol(self, function: TokenFunction[..., Any]) -> int:
        """Make a function known to the engine: the number of its enrolment."""
        options = function.token_options
        index, enrolment = next(self._indices), len(self._enrolments)
        self._enrolments.append(index)
        told = Enrolment(
            index,
            define(function.called, options.policy.manner),
            options.operation_type,
            options.weight,
            to_pickle(options.policy),
        )
        self.write(encode((enrolment, ENROL, 0, 0, encode(told))))
        return enrolment

    def call(self, enrolment: int, *args: Any, needs: Sequence[int] = ()) -> int:
        """Make a token within a token: its number.

        Args:
            enrolment: The function.
            args: Scalars.
            needs: Numbers of nested tokens whose values are further arguments.
        """
        number = next(self._numbers)
        request = self._request(number, enrolment, args, needs)
        self.write(encode((number, CALL, round(self._loop.time() * 1e9), enrolment, request)))
        return number

    def link(
        self,
        enrolment: int,
        *args: Any,
        lead: Any,
        seed: str = "00",
        begun: int | None = None,
        needs: Sequence[int] = (),
    ) -> int:
        """Make a token in a chain: its number.

        Args:
            enrolment: The function.
            args: Scalars.
            lead: The chain's lead.
            seed: The chain's seed.
            begun: On top of which token it is begun at once, 0 for none; None: it is not begun.
            needs: As for `call`.
        """
        number = next(self._numbers)
        request = self._request(number, enrolment, args, needs)
        value = (_number(lead), seed, request, begun)
        self.write(encode((number, LINK, round(self._loop.time() * 1e9), enrolment, value)))
        if begun is not None:
            self.on_top[number] = begun
        elif not needs:
            self.unbegun[number] = decode_request(request)
        return number

    def _request(
        self, number: int, enrolment: int, args: tuple[Any, ...], needs: Sequence[int]
    ) -> Any:
        index = self._enrolments[enrolment]
        if not needs:
            return encode((number, index, args))
        filled = [*args, *([None] * len(needs))]
        places = [(len(args) + at, _Needed(need)) for at, need in enumerate(needs)]
        return PlaceholderCall(number, index, filled, places).travelling()

    def claim(self, token: Any, within: Any = 0) -> None:
        """Say that a thread which runs `within` waits for a token."""
        self.write(encode((_number(token), CLAIM, _number(within), 0, 0)))

    def begin_on_top(self, token: Any, below: Any = 0) -> int:
        """Have a thread that waits within `below` begin a token; its number."""
        number = _number(token)
        self.unbegun.pop(number, None)
        self.on_top[number] = _number(below)
        self.write(encode((number, BEGUN, _number(below), 0, 0)))
        return number

    def forget_tokens(self, *tokens: Any, maker_ended: bool = False) -> None:
        """Say that nobody in there refers to some tokens any more."""
        numbers = [_number(token) for token in tokens]
        self.write(encode((0, DROP, int(maker_ended), 0, numbers)))

    def carry(self, token: Any, *others: Any) -> None:
        """Say that the outcome of a token will refer to others."""
        self.write(encode((_number(token), CARRY, 0, 0, [_number(other) for other in others])))

    def want(self, number: int, operation_type: str = "work") -> None:
        """Say that a token that was made elsewhere is referred to here."""
        self.write(encode((number, WANT, 0, 0, operation_type)))

    def ask_kill(self, token: Any, reason: str = "asked for") -> None:
        """Ask for the end of a token."""
        self.write(encode((_number(token), KILL, 0, 0, reason)))

    # ---- the outcome ring

    def write(self, record: bytes) -> None:
        """Publish a record, and ring if asked to."""
        self._written.append(record)
        self._ring()

    def _ring(self) -> None:
        if self._armed:
            self._armed = False
            self._loop.call_soon(self._rang, self)

    def come_up(self) -> None:
        """Take requests from now on."""
        self.up = True
        self._ring()

    def drop_unread(self) -> None:
        """Drop what was written and not taken."""
        self._written.clear()
        self._inbox.arrived.clear()


class _Needed:
    """A token that a call depends on, by its number."""

    def __init__(self, number: int) -> None:
        self.number = number

    core = None
    operation_type = ""

    def arrived_value(self) -> object:
        """Its value: not here."""
        raise NotImplementedError


class FakeBackend:
    """The cores of an engine, played by a test.

    Args:
        loop: The engine's loop.
        cores: How many cores there are.

    Attributes:
        links: The link on each seat.
        successors: By core, the link that is to take over.
        irreplaceable_cores: Cores whose process cannot be replaced while it is well.
        arena: None.
        restarts: By core, how many processes were started after another had ended.
        recycled: By core, how many processes were relieved.
        condemned: Links that the engine has condemned, and that have not exited.
        dismissed: Links that the engine has dismissed, and that have not exited.
        progress: What the engine said at each exit: whether the process had made progress.
        stopped: Whether the engine has stopped it.
    """

    arena: ParentArena | None = None

    def __init__(self, loop: asyncio.AbstractEventLoop, cores: int) -> None:
        self._loop = loop
        self._events: BackendEvents
        self._processes = count(1)
        self._to_start: deque[int] = deque(range(1, cores + 1))
        self.links: dict[int, CoreLink] = {}
        self.successors: dict[int, CoreLink] = {}
        self.irreplaceable_cores: dict[int, str] = {}
        self.restarts = dict.fromkeys(range(1, cores + 1), 0)
        self.recycled = dict.fromkeys(range(1, cores + 1), 0)
        self.condemned: list[FakeLink] = []
        self.dismissed: list[FakeLink] = []
        self.progress: list[bool] = []
        self.stopped = False

    # ---- the port

    def open(self, events: BackendEvents) -> None:
        """Start a process for each core; none is up."""
        self._events = events
        self.start_rest()

    def start_next(self) -> None:
        """Start the process of the next core that has had none."""
        if self._to_start:
            self.start(self._to_start.popleft())

    def start_rest(self) -> None:
        """Start the processes of all cores that have had none."""
        while self._to_start:
            self.start_next()

    def all_links(self) -> list[CoreLink]:
        """All links, also those without a seat."""
        return [*self.links.values(), *self.successors.values()]

    def replace(self, core: int) -> None:
        """Start a successor; it is not up."""
        successor = self.successors[core] = self._launch(core)
        self._events.launched(successor)

    def is_replacing(self, core: int) -> bool:
        """Whether a core has a successor."""
        return core in self.successors

    def relieve(self, core: int, seat: int) -> None:
        """Let the successor take over; without one the core is given up."""
        old = self.link(core)
        del self.links[core]
        old.seat = seat
        self.links[seat] = old
        if core not in self.successors:
            self.give_up(core, "its process cannot be replaced")
            return
        self.recycled[core] += 1
        self._seat(core)

    def dismiss(self, link: CoreLink) -> None:
        """Take note that a process is to leave; the test lets it exit."""
        assert isinstance(link, FakeLink)
        if link not in self.dismissed:
            self.dismissed.append(link)

    def condemn(self, link: CoreLink, because: str, *, distrusted: bool = False) -> None:
        """Take note that a process is to be ended; the test lets it exit."""
        assert isinstance(link, FakeLink)
        link.condemned = because
        if distrusted:
            link.drop_unread()
        if link not in self.condemned:
            self.condemned.append(link)

    def renew(self) -> None:
        """There are no surroundings that fake cores would begin with."""
        self.irreplaceable_cores.clear()

    def return_results(self) -> None:
        """There is no arena that anything could be returned to."""

    def hear_output(self) -> None:
        """Fakes say nothing."""

    def dropped_output(self) -> Mapping[int, int]:
        """By core, how many pieces of output were dropped: none."""
        return dict.fromkeys(self.restarts, 0)

    def stop(self, signal: int | None = None) -> None:
        """End all processes."""
        self.stopped = True
        self.links.clear()
        self.successors.clear()

    def abandon(self) -> None:
        """There is nothing to let go of."""

    # ---- what the test does to processes

    def link(self, seat: int) -> FakeLink:
        """The link on a seat."""
        link = self.links[seat]
        assert isinstance(link, FakeLink)
        return link

    def successor(self, core: int) -> FakeLink:
        """The link that is to take over a core."""
        link = self.successors[core]
        assert isinstance(link, FakeLink)
        return link

    def start(self, core: int) -> FakeLink:
        """Start a process of a core; it is not up."""
        link = self._launch(core)
        link.seat = core
        self.links[core] = link
        self._events.launched(link)
        return link

    def _launch(self, core: int) -> FakeLink:
        return FakeLink(self._loop, core, next(self._processes), self._came_up, self._heard)

    def _came_up(self, link: FakeLink) -> None:
        if link.seat:
            self._events.took_over(link)

    def _heard(self, link: FakeLink) -> None:
        if link in self.all_links():
            self._events.heard(link)

    def _seat(self, core: int) -> None:
        successor = self.successor(core)
        del self.successors[core]
        successor.seat = core
        self.links[core] = successor
        if successor.ready:
            self._events.took_over(successor)

    def exit(self, link: FakeLink, exitcode: int | None = -9, *, restart: bool = True) -> bool:
        """Let a process end; whether it had made progress, as the engine says.

        Args:
            link: The process.
            exitcode: Its exit code.
            restart: Whether its core gets another process, which is not up, if it had the core.
        """
        for ending in (self.condemned, self.dismissed):
            if link in ending:
                ending.remove(link)
        if not link.seat:
            del self.successors[link.core]
            return True
        del self.links[link.seat]
        pid = link.pid
        progress = self._events.exited(link, Ending(pid, exitcode, link.condemned))
        link.leases.close_leases()
        self.progress.append(progress)
        if link.seat == link.core and not self.stopped:
            if link.core in self.successors:
                self.restarts[link.core] += 1
                self._seat(link.core)
            elif restart:
                self.restarts[link.core] += 1
                self.start(link.core)
        return progress

    def give_up(self, core: int, reason: str, refusal: bytes = b"") -> None:
        """Say that a core gets no more processes."""
        self._events.given_up(core, GivenUp(reason, refusal))

    def cannot_replace(self, core: int) -> None:
        """Say that no process can take over from a core's."""
        self.successors.pop(core, None)
        self.irreplaceable_cores[core] = "no process can be started"
        self._events.irreplaceable(core)

    def drain(self, link: FakeLink) -> None:
        """Say that a link is about to go."""
        self._events.draining(link)

    def suspect(self, link: FakeLink) -> None:
        """Say that nothing is heard from a link."""
        self._events.suspect(link)

    def recover(self, link: FakeLink) -> None:
        """Say that a suspect link is heard again."""
        self._events.recovered(link)


def _number(token: Any) -> int:
    """The number of a token, or a number."""
    return token if isinstance(token, int) else token.number
