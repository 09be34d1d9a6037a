"""The feed: takes items, sends them in batches, and keeps what comes of them until it is taken.

Items are taken in the thread that takes results: as many as keep the cores busy, and no more than
may be under way. So an endless iterable works, and a generator runs where its owner is; should it
take its time, results are given in between. A *driven* feed has its items from the
start, and goes on by itself with each batch that ends.

A batch is a token whose outcome goes to the feed. Items that it has had no time for are sent again,
to whichever core is free. What belongs to an item stays with that item: a batch whose arguments
cannot be encoded here or decoded there, so that no call was made, is halved until the item stands
alone that is to blame.
"""

from __future__ import annotations

import concurrent.futures
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic_ns
from typing import Any, Final

from tokengate_mp.bulk.pace import Pace
from tokengate_mp.bulk.sender import Sender
from tokengate_mp.bulk.source import Source
from tokengate_mp.config.options import TokenOptions
from tokengate_mp.errors import (
    CoordinatorNotRunning,
    PayloadError,
    RemoteTraceback,
    cause_of,
)
from tokengate_mp.locks import new_lock
from tokengate_mp.tokens.forwarding import ForwardingToken
from tokengate_mp.wire.protocol.batches import BatchOutcome, decode_batch
from tokengate_mp.wire.protocol.call_encoder import CallEncoder
from tokengate_mp.worker.run.batch import ManyCalls

BATCHES_AHEAD: Final = 4
"""Batches under way for each core."""

UNTAKEN: Final = 64
"""Batches for each core that are under way or have results which nobody has taken yet."""

MOST_UNTAKEN: Final = 1 << 19
"""About how many items are, however short they are."""

READING_NS: Final = 2_000_000
"""How long items are taken and sent before it is time to look for results again, ns."""


class Batch:
    """Items of a map on their way, and their outcome.

    Attributes:
        first: The position of the first item among all.
        rows: The items; empty once the outcome is here.
        count: The number of items.
        outcome: The outcome of the items; None until then, and if there is none.
        error: The reason why there is no outcome.
        token: The token of the batch, once it is made.
    """

    __slots__ = ("_feed", "count", "error", "first", "outcome", "rows", "token")

    def __init__(self, feed: Feed, first: int, rows: Sequence[Any]) -> None:
        self._feed = feed
        self.first = first
        self.rows = rows
        self.count = len(rows)
        self.outcome: BatchOutcome | None = None
        self.error: BaseException | None = None
        self.token: ForwardingToken[Any] | None = None

    # The recipient of its token, in the coordinator's thread.

    def cut(self, count: int, /) -> None:
        """Take note that only the first so many calls are made."""
        if count < self.count:
            self._feed.cut_batch(self, count)

    def set_result(self, result: Any, /) -> None:
        """Take the results of the calls."""
        try:
            self.outcome = decode_batch(result).first(self.count)
        except Exception as error:  # noqa: BLE001 - it is reported to whoever takes the batch
            self.error = error
        self._feed.take_outcome(self)

    def set_exception(self, error: BaseException, /) -> None:
        """Take the reason why calls were not made, or their outcomes are lost."""
        self.error = error
        self._feed.take_outcome(self)

    def cancel(self) -> None:
        """Take note that no calls are to be made, of the batch or after."""
        self._feed.stop_feed(concurrent.futures.CancelledError())


class Feed:
    """Takes items, sends batches, and keeps batches of results until they are taken.

    Args:
        sender: Where batches go.
        function: The function that is called for each item.
        options: How the tokens of its batches are treated.
        rows: The items; tuples of arguments, unless `width` is 1.
        width: How many arguments each call takes.
        pace: How many items a batch has.
        buffersize: The most items that may be taken and not given back; None for as many as it
            takes to keep the cores busy.
        driven: Whether it goes on by itself.

    Attributes:
        bell: Called, in the coordinator's thread, when something has arrived.
        sender: Where batches go.
        name: The operation that batches count as.
    """

    def __init__(  # noqa: PLR0913 - made in three places, each with its own choice of these
        self,
        sender: Sender,
        function: Callable[..., Any],
        options: TokenOptions,
        rows: Iterable[Any],
        *,
        width: int,
        pace: Pace,
        buffersize: int | None = None,
        driven: bool = False,
    ) -> None:
        self.sender = sender
        self.name = options.operation_type
        self.bell: Callable[[], object] | None = None
        # As it is now, for all items: the feed keeps this version known.
        self._function = ManyCalls(function, pace.most_ns)
        self._index, self._operation, self._version = sender.enrol(
            self._function, options, divisible=pace.most_ns is not None
        )
        self._source = Source(rows)
        self._width = width
        self._encoder = CallEncoder(self.name, writable=options.writable)
        self._pace = pace
        self._buffersize = buffersize
        self._driven = driven
        self._lock = new_lock()
        self._read = 0
        self._taken = 0
        self._next = 0
        self._cancelled = False
        self._failure: BaseException | None = None
        self._again: deque[tuple[int, Sequence[Any]]] = deque()
        self._flying: set[Batch] = set()
        self._arrived: deque[Batch] = deque()
        self._ready: dict[int, Batch] = {}

    # ---- sending

    def fill(self, *, hurried: bool = False) -> bool:
        """Send as many batches as may be under way, or as there is time for.

        Args:
            hurried: Whether there are results to be given: then no item is waited for.

        Returns:
            Whether there was no time for more.

        Raises:
            CoordinatorNotRunning: The coordinator was stopped.
        """
        until = None if self._driven else monotonic_ns() + READING_NS
        with self._lock:
            cores = self.sender.cores
            while len(self._flying) < BATCHES_AHEAD * cores and not self._cancelled:
                if self._again:
                    first, rows = self._next_again(cores)
                elif hurried and self._source.item_ns > READING_NS:
                    break
                else:
                    first, rows = self._read, self._read_on(cores, until)
                if not rows:
                    break
                self._send(first, rows)
                if until is not None and monotonic_ns() >= until:
                    return True
        return False

    def _next_again(self, cores: int) -> tuple[int, Sequence[Any]]:
        """Take some of the items that are to be sent again."""
        first, rows = self._again.popleft()
        # (A copy: what has come back may be added meanwhile.)
        left = sum([len(rest) for _, rest in list(self._again)]) + len(rows)
        size = self._pace.size(left + (self._source.items_left() or 0), cores)
        if len(rows) > size:
            self._again.appendleft((first + size, rows[size:]))
            rows = rows[:size]
        return first, rows

    def _read_on(self, cores: int, until: int | None) -> Sequence[Any]:
        """Take the next items of the source, as many as may be sent now, until a time."""
        source = self._source
        if source.ended:
            return ()
        untaken = len(self._flying) + len(self._arrived) + len(self._ready)
        ahead = self._read - self._taken
        if not self._driven and (untaken >= UNTAKEN * cores or ahead >= MOST_UNTAKEN):
            return ()
        size = self._pace.size(source.items_left(), cores)
        if self._buffersize is not None:
            share = max(1, self._buffersize // (2 * cores))
            size = min(size, share, self._buffersize - ahead)
            if size <= 0:
                return ()
        # (A size that the caller chose is kept, whatever time that takes.)
        rows = source.take_items(size, None if self._pace.most_ns is None else until)
        if self._failure is None:
            self._failure = source.failure
        self._read += len(rows)
        return rows

    def _send(self, first: int, rows: Sequence[Any]) -> None:
        batch = Batch(self, first, rows)
        number = self.sender.next_number()
        began = monotonic_ns()
        try:
            record = self._encoder.encode_batch(
                number, self._index, self._width, rows, self.sender.arena
            )
        except PayloadError as error:
            if not self._halve(batch):
                batch.error = error
                self._arrived.append(batch)
            return
        self._pace.sent(batch.count, monotonic_ns() - began, len(record))
        self._flying.add(batch)
        # Batches differ, and the scheduler has measured those before.
        duration = self._pace.duration(batch.count)
        try:
            batch.token = self.sender.forward(
                number, self._operation, record, self._version, batch, expected=duration
            )
        except BaseException:
            # In this order, as in `take_outcome`.
            self._again.appendleft((first, rows))
            self._flying.discard(batch)
            raise

    def _halve(self, batch: Batch) -> bool:
        """Have the items of a batch sent in halves; False if there is a single item."""
        middle = batch.count // 2
        if not middle:
            return False
        first, rows = batch.first, batch.rows
        self._again.extendleft([(first + middle, rows[middle:]), (first, rows[:middle])])
        return True

    # ---- arriving

    def cut_batch(self, batch: Batch, count: int) -> None:
        """Send items again that a batch comes back without. In the coordinator's thread."""
        if batch not in self._flying:  # it was cancelled
            return
        self._again.append((batch.first + count, batch.rows[count:]))
        batch.rows = batch.rows[:count]
        batch.count = count
        self._go_on()

    def take_outcome(self, batch: Batch) -> None:
        """Take the outcome of a batch. In the coordinator's thread."""
        outcome, error = batch.outcome, batch.error
        wanted = batch in self._flying  # else it was cancelled, and nothing is sent again
        if outcome is not None:
            done = len(outcome.values)
            if done < batch.count:  # it took too long for all of them
                if wanted:
                    self._again.append((batch.first + done, batch.rows[done:]))
                batch.count = done
            self._pace.observe(done, outcome.nanoseconds)
        no_call_made = (
            wanted
            and error is not None
            and type(cause_of(error)) is RemoteTraceback
            and not issubclass(type(error), PayloadError)
        )
        # The batch is among the arrived before it leaves the flying: else all would seem over.
        if not (no_call_made and self._halve(batch)):
            self._arrived.append(batch)
        batch.rows = ()
        self._flying.discard(batch)
        self._go_on()

    def _go_on(self) -> None:
        """Send more, or wake the thread or task that takes results, which does."""
        if self._driven and not self.sender.closed:
            try:
                self.fill()
            except Exception as error:  # noqa: BLE001 - whoever takes results gets it
                self.stop_feed(error)
        bell = self.bell
        if bell is not None:
            bell()

    def stop_feed(self, error: BaseException | None = None) -> None:
        """Send nothing more, and withdraw batches that were sent.

        Args:
            error: Raised to whoever takes results, in place of the missing results.
        """
        with self._lock:
            self._cancelled = True
            self._source.stop_reading()
            self._again.clear()
            if error is not None and self._failure is None:
                self._failure = error
            flying = list(self._flying)
            self._flying.clear()
        for batch in flying:
            if batch.token is not None:
                self.sender.withdraw(batch.token)
        bell = self.bell
        if bell is not None:
            bell()

    # ---- taking

    def take_batch(self, *, ordered: bool) -> Batch | None:
        """Take the next batch that has arrived, if there is any."""
        ready = self._ready
        while self._arrived:
            batch = self._arrived.popleft()
            ready[batch.first] = batch
        if not ready:
            return None
        if not ordered:
            return ready.pop(next(iter(ready)))
        found = ready.pop(self._next, None)
        if found is not None:
            self._next += found.count
        elif self._cancelled:  # what comes before these was withdrawn, or will not be sent again
            ready.clear()
        return found

    def count_given(self, count: int) -> None:
        """Count items whose results have been given."""
        self._taken += count

    def is_over(self) -> bool:
        """Whether all results were taken.

        Raises:
            Exception: The error that ended the feed before its time.
            CoordinatorNotRunning: The coordinator's loop is closed, so nothing more can arrive.
        """
        if self._flying and self.sender.loop.is_closed():
            raise CoordinatorNotRunning(
                f"the results of {self.name!r} cannot arrive: the event loop that the coordinator "
                "lives in is closed. Stop it before its loop ends."
            )
        # (What came back in part while it was cancelled, in another thread, is not sent again.)
        to_come = self._flying or (self._again and not self._cancelled)
        if not self._source.ended or to_come or self._arrived or self._ready:
            return False
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        return True
