"""The driver of a soak: makes its tokens, kills its processes, and waits, but not for ever.

Tokens are made in rounds, several of which are under way at any time, so that the cores always have
something of everything. All choices come from one seeded generator; when what happens is up to the
machine.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tokengate_mp import (
    DependencyFailed,
    OperationsCoordinator,
    TokenKilled,
    TokenTimeout,
    as_completed,
)
from tokengate_mp.soak import journal, load
from tokengate_mp.soak.journal import End, Event, Note
from tokengate_mp.soak.load import CHILDREN, NEEDS, PLAIN, FlakyError, Kind, result_of
from tokengate_mp.soak.outside import Complaints, Samples

if TYPE_CHECKING:
    from tokengate_mp import Token, TokenMap

ROUNDS: Final = 1
"""How many rounds are under way for each core."""

MIX: Final = {
    Kind.NOOP: 24,
    Kind.WORK: 12,
    Kind.NAP: 6,
    Kind.ALONE: 4,
    Kind.LARGE: 2,
    Kind.FLAKY: 6,
    Kind.STUBBORN: 4,
    Kind.SURE: 8,
    Kind.HASTY: 3,
    Kind.DOOMED: 3,
    Kind.DROPPED: 3,
    Kind.LEAD: 2,
    Kind.ASKER: 3,
    Kind.SUM: 3,
    Kind.MAPPED: 20,
}
"""What a round consists of."""

_SAMPLE_SECONDS: Final = 0.1
_RING_BYTES: Final = 1 << 16
"""A small ring, so that it is full now and then and large payloads travel in pieces."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings of a soak.

    Attributes:
        seconds: How long tokens are made.
        kills: How many processes are killed in a second, on average.
        seed: Of the choices.
        cores: How many core domains.
        threads: Crew threads of each.
        patience: Seconds that tokens have to end after the last one was made.
        journal: The journal's path; the file is not there yet.
    """

    seconds: float
    kills: float
    seed: int
    cores: int
    threads: int
    patience: float
    journal: str


@dataclass(slots=True)
class Course:
    """Facts about a soak that has ended, besides its journal.

    Attributes:
        elapsed: Seconds from the first token to the end of the last.
        samples: Looks at this process.
        stats: What `get_stats` said when everything had ended.
        pending: What had not ended in time, in words; empty if everything had.
        complaints: What was logged and should not have been.
        kills: How many processes were killed.
    """

    elapsed: float = 0.0
    samples: Samples = field(default_factory=Samples)
    stats: dict[str, Any] = field(default_factory=dict)
    pending: str = ""
    complaints: list[str] = field(default_factory=list)
    kills: int = 0


class Driver:
    """Load, kills and clean-up of a soak.

    Args:
        plan: What it is to be like.
    """

    def __init__(self, plan: Plan) -> None:
        self.course = Course()
        self._plan = plan
        self._chance = random.Random(plan.seed)
        self._last = 0
        self._over = False
        self._flying: set[int] = set()
        self._started_cold: set[int] = set()
        self._aims = False
        self._payload = self._chance.randbytes(_RING_BYTES)

    async def run(self) -> Course:
        """Soak, in the running event loop, and return the facts about the soak."""
        plan, course = self._plan, self.course
        with Complaints() as complaints:
            asyncio.get_running_loop().set_exception_handler(complaints.of_loop)
            coordinator = OperationsCoordinator(
                cores=plan.cores,
                threads_per_core=plan.threads,
                ring_bytes=_RING_BYTES,
                poison_limit=load.POISON_LIMIT,
                grace=max(10.0, plan.patience / 2),
            )
            coordinator.start()
            try:
                await self._soak(coordinator)
                course.stats = coordinator.get_stats()
            finally:
                self._over = True
                coordinator.stop()
            course.complaints = complaints.heard
        return course

    async def _soak(self, coordinator: OperationsCoordinator) -> None:
        plan, course = self._plan, self.course
        begin = time.monotonic()
        tasks: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(plan.seconds + plan.patience):
                await self._round()  # from here on everything is loaded
                end = time.monotonic() + plan.seconds
                tasks.append(asyncio.create_task(self._watch(coordinator)))
                shooting = asyncio.create_task(self._shoot(coordinator, end))
                rounds = ROUNDS * len(_cores(coordinator))
                making = [asyncio.create_task(self._rounds(end)) for _ in range(rounds)]
                tasks += [shooting, *making]
                await asyncio.gather(shooting, *making)
                await coordinator.join()
                await self._all_up(coordinator)
        except TimeoutError:
            first = ", ".join(map(str, sorted(self._flying)[:10]))
            course.pending = (
                f"pending after {plan.patience:g} s: {len(self._flying)} tokens"
                f"{f' ({first} …)' if first else ''}; {coordinator.get_stats()['tokens']}"
            )
        finally:
            self._over = True
            course.elapsed = time.monotonic() - begin
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _all_up(self, coordinator: OperationsCoordinator) -> None:
        """Wait until every outcome has been noted, and every killed process replaced."""
        while True:
            cores = _cores(coordinator)
            restarts = sum(core["restarts"] for core in cores)
            up = all(core["alive"] for core in cores)
            if up and restarts >= self.course.kills and not self._flying:
                return
            await asyncio.sleep(0.02)

    # ---- the load

    async def _rounds(self, end: float) -> None:
        while time.monotonic() < end:
            await self._round()

    async def _round(self) -> None:
        kinds = [
            kind for kind, count in MIX.items() if kind is not Kind.MAPPED for _ in range(count)
        ]
        self._chance.shuffle(kinds)
        items = self._numbers(MIX[Kind.MAPPED])
        mapping = asyncio.create_task(self._map(items))
        tokens: list[Token[Any]] = []
        for kind in kinds:
            tokens += self._make(kind)
        # Each is noted by a callback of its own; this waits for all of them.
        given = 0
        async for _ in as_completed(tokens):
            given += 1
        if given != len(tokens):
            self.course.complaints.append(f"as_completed gave {given} of {len(tokens)} tokens")
        await mapping
        await asyncio.sleep(0)

    def _numbers(self, count: int) -> range:
        first = self._last + 1
        self._last += count
        return range(first, first + count)

    def _note(self, number: int, event: Event, what: int, value: int = 0, pid: int = 0) -> None:
        journal.write(self._plan.journal, Note(number, value, pid, event, what))

    def _make(self, kind: Kind) -> Iterator[Token[Any]]:
        path = self._plan.journal
        if kind is Kind.SUM:
            needs: list[Any] = [token for _ in range(NEEDS) for token in self._make(Kind.NOOP)]
            yield from needs
            (number,) = self._numbers(1)
            self._note(number, Event.MADE, kind)
            yield self._follow(kind, number, load.sum_up(path, number, *needs))
            return
        number = self._numbers(1 + (CHILDREN if kind in {Kind.LEAD, Kind.ASKER} else 0))[0]
        self._note(number, Event.MADE, kind)
        if kind is Kind.LARGE:
            token: Token[Any] = load.large(path, number, self._payload)
        else:
            token = PLAIN[kind](path, number)
        yield self._follow(kind, number, token)
        loop, later = asyncio.get_running_loop(), self._chance.random() / 2.5
        if kind is Kind.DOOMED:
            loop.call_later(later, self._unless_over, token.kill)
        elif kind is Kind.DROPPED:
            loop.call_later(later, self._unless_over, token.cancel)

    def _unless_over(self, act: Any) -> None:
        if not self._over:
            act()

    def _follow(self, kind: Kind, number: int, token: Token[Any]) -> Token[Any]:
        self._flying.add(number)
        token.add_done_callback(lambda done: self._ended(kind, number, done))
        return token

    def _ended(self, kind: Kind, number: int, token: asyncio.Future[Any]) -> None:
        """Note the end of a token, as its awaiting caller sees the end."""
        if self._over:
            return
        self._flying.discard(number)
        if token.cancelled():
            self._note(number, Event.ENDED, End.CANCELLED)
            return
        error = token.exception()
        if error is not None:
            self._failed(number, error)
            return
        value = token.result()
        if kind is Kind.LARGE:
            # Told apart from a right one by any number that is not that.
            value = result_of(kind, number) if value == self._payload[::-1] else 0
        elif kind is Kind.LEAD:
            children, value = value, result_of(kind, number)
            for at, child in enumerate(children, number + 1):
                self._follow(Kind.CHILD, at, child)
        self._note(number, Event.ENDED, End.VALUE, value if isinstance(value, int) else 0)

    def _failed(self, number: int, error: BaseException) -> None:
        lost = load.lost_by(error)
        if lost is not None:
            pid, engine = lost
            self._note(number, Event.ENDED, End.LOST, engine, pid)
            return
        kinds: dict[type[BaseException], End] = {
            TokenKilled: End.KILLED,
            TokenTimeout: End.TIMED_OUT,
            FlakyError: End.FAILED,
            DependencyFailed: End.NEEDED,
        }
        end = kinds.get(type(error), End.OTHER)
        if end is End.OTHER:
            self.course.complaints.append(f"token {number}: {error!r}")
        self._note(number, Event.ENDED, end)

    async def _map(self, numbers: range) -> None:
        for number in numbers:
            self._flying.add(number)
            self._note(number, Event.MADE, Kind.MAPPED)
        paths = [self._plan.journal] * len(numbers)
        at = 0
        # An error may stand in the place of a result, which its type does not say.
        mapping: TokenMap[Any] = load.mapped.map(paths, numbers, return_exceptions=True)
        async for value in mapping:
            if self._over:
                return
            number = numbers[at] if at < len(numbers) else 0
            at += 1
            self._flying.discard(number)
            if isinstance(value, BaseException):
                self._failed(number, value)
            else:
                self._note(number, Event.ENDED, End.VALUE, value)

    # ---- the kills, and looking on

    async def _shoot(self, coordinator: OperationsCoordinator, end: float) -> None:
        if not self._plan.kills:
            return
        while True:
            pause = self._chance.expovariate(self._plan.kills)
            if time.monotonic() + pause >= end:
                return
            await asyncio.sleep(pause)
            core = self._chance.choice(_cores(coordinator))
            pid, number = core["pid"], core["core"]
            if pid is None:
                continue
            if core["alive"]:
                self._started_cold.discard(number)
            elif number in self._started_cold:
                continue  # three that end before they are up, and the core would be given up
            else:
                self._started_cold.add(number)
            # The process is a child that nobody has waited for yet: the number is its own.
            pidfd = os.pidfd_open(pid)
            self._aims = True
            try:
                # From a thread, so that it happens at any moment of this thread, too.
                await asyncio.to_thread(self._kill, pid, pidfd, self._chance.random() / 100)
                self.course.kills += 1
            except ProcessLookupError:
                pass  # it died before, by itself: there will be a restart too many
            finally:
                os.close(pidfd)
                self._aims = False
            await self._replaced(coordinator, number, pid)

    def _kill(self, pid: int, pidfd: int, seconds: float) -> None:
        time.sleep(seconds)
        journal.write(self._plan.journal, Note(0, 0, pid, Event.SHOT))
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)

    async def _replaced(self, coordinator: OperationsCoordinator, number: int, pid: int) -> None:
        """Wait until the process is seen to be dead, since no process is killed twice."""
        while _cores(coordinator)[number - 1]["pid"] == pid:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)

    async def _watch(self, coordinator: OperationsCoordinator) -> None:
        while True:
            # While it aims it has a descriptor more, which is not the engine's.
            settled = not self._aims and all(core["alive"] for core in _cores(coordinator))
            self.course.samples.take(settled=settled)
            await asyncio.sleep(_SAMPLE_SECONDS)


def _cores(coordinator: OperationsCoordinator) -> list[dict[str, Any]]:
    cores: list[dict[str, Any]] = coordinator.get_stats()["cores"]
    return cores
