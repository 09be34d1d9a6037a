"""The backlog: requests taken out of the ring and not begun, and the tokens that threads wait for.

Each request that comes is sorted here: into the queue of the crew, to the thread that waits for its
token, or to what it defines, answers or frees. An exclusive token stays in the queue, at its head,
while a thread of the crew waits for it: it is the main thread that runs it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from tokengate_mp.errors import WireError
from tokengate_mp.wire.channel.doorbell import Doorbell
from tokengate_mp.wire.protocol import records
from tokengate_mp.worker.crew.borrowed import Borrowed
from tokengate_mp.worker.crew.chains import Chains
from tokengate_mp.worker.crew.known_tokens import KnownToken, KnownTokens
from tokengate_mp.worker.run.chain import ChainRef
from tokengate_mp.worker.run.functions import Functions


class Backlog:
    """The requests that wait in a core process.

    Args:
        mail_bell: The bell of the request ring: wakes a thread that is asleep over the mail.
        functions: The functions that requests call.
        known: The tokens that this process refers to.
        chains: The chains of tokens.
        borrowed: The blocks of the arena that this process reads.

    Attributes:
        queue: Requests to be begun, in their order.
        members: Requests of tokens that were made here, in chains, by number: they come when the
            queue is empty, unless a thread that waits for one has taken it.
        awaited: Tokens that threads wait for, by number.
        recalls: How often the parent has asked for what was not begun.
        arrivals: Held while requests are sorted; notified of whatever a waiting thread may wait
            for.
    """

    __slots__ = (
        "_borrowed",
        "_chains",
        "_functions",
        "_known",
        "_mail_bell",
        "_own",
        "_pieces",
        "arrivals",
        "awaited",
        "members",
        "queue",
        "recalls",
    )

    def __init__(
        self,
        mail_bell: Doorbell,
        functions: Functions,
        known: KnownTokens,
        chains: Chains,
        borrowed: Borrowed,
    ) -> None:
        self.queue: deque[records.Request] = deque()
        self.members: dict[int, records.Request] = {}
        self.awaited: dict[int, KnownToken] = {}
        self.arrivals = threading.Condition(threading.Lock())
        self.recalls = 0
        # Tokens that threads wait for which the user's code has started: they run those themselves.
        self._own: set[int] = set()
        self._mail_bell = mail_bell
        self._functions = functions
        self._known = known
        self._chains = chains
        self._borrowed = borrowed
        self._pieces = records.Pieces()

    # ---- for the thread that reads the mail

    def sort_requests(self, requests: Sequence[records.Request]) -> None:
        """Put each request where the request belongs.

        Raises:
            WireError: A request is of no known kind, or does not carry what its kind does.
        """
        plain = [request for request in requests if request.function >= 0]
        with self.arrivals:
            if len(plain) == len(requests) and not self.awaited:
                self.queue.extend(plain)
            else:
                for request in requests:
                    self._sort(request)

    def _sort(self, request: records.Request) -> None:  # noqa: C901, PLR0912 - one for each kind
        number, mark, content = request.number, request.function, request.arguments
        if mark >= 0:
            waiting = self.awaited.get(number)
            if waiting is None:
                self.queue.append(request)
            else:
                self._hand_over(waiting, request)
                self.arrivals.notify_all()
        elif isinstance(content, list):
            raise WireError(f"a request of kind {mark} carries bytes, not a list")
        elif mark == records.PART:
            self._pieces.add_piece(number, content)
        elif mark == records.JOIN:
            self._sort(records.decode_request(self._pieces.join_pieces(number, content)))
        elif mark == records.DEFINE:
            self._functions.define_function(number, content)
        elif mark == records.CHAINED:
            link = records.decode_link(content)
            self._chains.joined[number] = ChainRef(link.lead, link.seed)
            self._sort(records.decode_request(link.request))
        elif mark == records.ANSWER:
            token = self._known.find_token(number)
            if token is not None:
                token.accept_outcome(content, here=False)
                self.arrivals.notify_all()
        elif mark == records.HINT:
            hinted = self.awaited.get(number)
            if hinted is not None:
                hinted.hint = records.decode_needs(content)
                self.arrivals.notify_all()
        elif mark == records.FORGET:
            self._functions.forget_function(number)
        elif mark == records.FREE:
            self._borrowed.free_results(content)
        else:
            raise WireError(f"there is no request of kind {mark}")

    def queue_member(self) -> None:
        """Let the oldest member be the next token; another thread may take the member meanwhile."""
        try:
            self.queue.append(self.members.pop(next(iter(self.members))))
        except (StopIteration, RuntimeError, KeyError):
            pass

    # ---- for threads that wait for tokens

    def await_token(self, token: KnownToken, *, own: bool = False) -> None:
        """Begin to wait for a token: its request, should that come, goes to the waiting thread.

        Args:
            token: The token.
            own: Whether the thread is one that the user's code has started. Such a thread runs an
                exclusive token too: the main thread may wait for it.
        """
        first = False
        with self.arrivals:
            token.waiters += 1
            self.awaited[token.number] = token
            if own:
                self._own.add(token.number)
            if token.request is None and (request := self._take_out(token.number)) is not None:
                first = self._hand_over(token, request)
        if first:
            self._mail_bell.ring()

    def _hand_over(self, token: KnownToken, request: records.Request) -> bool:
        """Give a request to the threads that wait for it; or put it first, and return True."""
        if token.number not in self._own and self._functions[request.function].exclusive:
            self.queue.appendleft(request)
            return True
        token.request = request
        return False

    def _take_out(self, number: int) -> records.Request | None:
        member = self.members.pop(number, None)
        if member is not None:
            return member
        while True:
            try:
                for request in self.queue:
                    if request.number == number:
                        self.queue.remove(request)
                        return request
            except (RuntimeError, ValueError, IndexError):  # another thread took one meanwhile
                continue
            return None

    def take_request(self, token: KnownToken) -> records.Request | None:
        """Take the request of an awaited token; None if the request is not here."""
        with self.arrivals:
            request = token.request
            token.request = None
            return request

    def await_no_more(self, token: KnownToken) -> None:
        """End the wait of a thread for a token; the last such wait puts its request back."""
        with self.arrivals:
            token.waiters -= 1
            if token.waiters:
                return
            del self.awaited[token.number]
            self._own.discard(token.number)
            request, token.request = token.request, None
        if request is not None:
            self.queue.append(request)
            self._mail_bell.ring()  # whoever sleeps over the mail has something to run

    # ---- for the main thread

    def exclusive_first(self) -> bool:
        """Whether an exclusive token is the next in the queue."""
        try:
            return self._functions[self.queue[0].function].exclusive
        except IndexError:
            return False

    def take_exclusive(self, number: int | None = None) -> records.Request | None:
        """Take an exclusive token out of the queue.

        Args:
            number: Its number; None for the first in the queue, if that is one.
        """
        while True:
            try:
                for request in self.queue:
                    if self._functions[request.function].exclusive and number in {
                        None,
                        request.number,
                    }:
                        self.queue.remove(request)
                        return request
                    if number is None:
                        break
            except RuntimeError:  # requests came meanwhile
                continue
            except ValueError:  # it was given back meanwhile
                pass
            return None

    def notify_waiting(self) -> None:
        """Let threads that wait for tokens look again."""
        with self.arrivals:
            self.arrivals.notify_all()

    def wake_waiting(self) -> None:
        """Let threads that wait for tokens look again, also a thread asleep over the mail."""
        self.notify_waiting()
        self._mail_bell.ring()

    def deliver_here(self, number: int, record: bytes, here: int = 0) -> None:
        """Give an outcome to its token, if the token is known here.

        Args:
            number: The number of the token, which was run in this process.
            record: Its outcome.
            here: How many of the threads that wait for the token have run it.
        """
        token = self._known.find_token(number)
        if token is None:
            return
        token.accept_outcome(record, here=True)
        if token.waiters > here:
            self.wake_waiting()
