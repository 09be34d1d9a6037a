"""The token: the future that a call returns at once, and that its result arrives in.

It is an `asyncio.Future`, because anything else that can be awaited would cost `gather` a Task
each. It is also the scheduler's ticket (see `scheduling.model.ticket`), because a record of its own
beside each token would double what a token costs. It stands below the decorator, whose calls are
typed as giving tokens, and knows the coordinator only as its `TokenController`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from secrets import token_hex
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from tokengate_mp import this_process
from tokengate_mp.config.options import Weight
from tokengate_mp.errors import CoordinatorNotRunning, TokenKilled
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.loops.callbacks import CallbackQueue
from tokengate_mp.loops.cross_thread import in_loop, wait
from tokengate_mp.scheduling.model.operation import Operation
from tokengate_mp.tokens.observers import observers, tell_observers
from tokengate_mp.wire.payload.attachments import AttachedRecord
from tokengate_mp.wire.payload.placeholders import NOT_YET, reduce_token
from tokengate_mp.wire.protocol.pending_call import PendingCall

R = TypeVar("R")


class Timing(NamedTuple):
    """When things happened to a token: monotonic ns, comparable across the processes.

    Attributes:
        created: The call.
        admitted: Sent to a core; None before.
        started: The function was called; None until the outcome is here.
        finished: The function returned or raised; None until then.
    """

    created: int
    admitted: int | None
    started: int | None
    finished: int | None


class TokenController(Protocol):
    """The part of a coordinator that looks after tokens. Called in any thread."""

    def kill(self, token: Token[Any], reason: str) -> bool:
        """End the token; False if it had ended already."""

    def token_cancelled(self, token: Token[Any]) -> None:
        """Take note that the token's future was cancelled."""

    def is_running(self, token: Token[Any]) -> bool:
        """Whether a crew thread runs the token now."""


_prefix = token_hex(4)


def id_prefix() -> str:
    """The first part of the ids of this process's tokens."""
    return _prefix


def _after_fork() -> None:
    """Begin ids differently in a fork: the numbers go on in both processes."""
    global _prefix  # noqa: PLW0603 - the ids of one process have one prefix
    _prefix = token_hex(4)


os.register_at_fork(after_in_child=_after_fork)


class Token(asyncio.Future[R]):
    """A call that is on its way.

    Awaitable any number of times, from the event loop that it was made in; it works with everything
    in asyncio that takes futures. In a thread without a loop, use `get`.
    """

    __slots__ = (
        "_seen",
        "admitted",
        "core",
        "cost",
        "created",
        "finished",
        "number",
        "operation",
        "record",
        "stage",
        "started",
        "version",
    )

    number: int
    operation: Operation
    stage: TokenState
    core: int | None
    cost: int
    admitted: int
    record: bytes | AttachedRecord | PendingCall  # the last until dependencies have ended
    version: object
    created: int
    started: int  # not there before the outcome is
    finished: int  # likewise

    if TYPE_CHECKING:

        def __init__(self, *, loop: CallbackQueue) -> None: ...

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that the result arrives in."""
        queue: Any = self._loop
        return queue.loop  # type: ignore[no-any-return]  # a queue's, see `__init__`

    @property
    def token_id(self) -> str:
        """The id, unique among all tokens of the machine's processes."""
        return self.id_of(self.number)

    @staticmethod
    def id_of(number: int) -> str:
        """The id of the token with a number, in this process."""
        return f"{_prefix}-{number}"

    @staticmethod
    def number_of(token_id: str) -> int | None:
        """The number in an id; None if that is no id of this process's tokens."""
        prefix, _, number = token_id.partition("-")
        return int(number) if prefix == _prefix and number.isdecimal() else None

    @property
    def operation_type(self) -> str:
        """The operation of the call."""
        return self.operation.name

    @property
    def weight(self) -> Weight:
        """The weight class."""
        return self.operation.weight

    @property
    def seed(self) -> str | None:
        """The seed of the token's chain, hex; None outside a chain.

        A lead has the seed of the chain that it leads.
        """
        policy = self.operation.policy
        if policy is None or policy.lead is None:
            return None
        return policy.lead.seed(self.token_id)

    @property
    def state(self) -> TokenState:
        """The state of the token in its life."""
        if self.stage is not TokenState.ADMITTED:
            return self.stage
        # Once its function has returned, its core names another token, and until its outcome is
        # here this one would look as if it had not begun: so what was seen is remembered, for as
        # long as it stays where it was seen.
        if getattr(self, "_seen", None) != self.admitted:
            control: TokenController | None = this_process.control
            if control is None or not control.is_running(self):
                return self.stage
            self._seen = self.admitted
        return TokenState.EXECUTING

    @property
    def timing(self) -> Timing:
        """The times of the call, of sending, and of the function's start and end."""
        return Timing(
            self.created,
            self.admitted if self.core is not None else None,
            getattr(self, "started", None),
            getattr(self, "finished", None),
        )

    def get(self, timeout: float | None = None) -> R:
        """Wait for the result in the calling thread, and return it.

        Args:
            timeout: Seconds to wait; None for as long as it takes.

        Raises:
            TimeoutError: The token has not ended within `timeout`, and goes on.
            RuntimeError: The calling thread runs the event loop that the result has to arrive in.
            CoordinatorNotRunning: This is a fork of the process that made it.
            Exception: What the function raised.
        """
        if not self.done():
            self._refuse_orphan()
            wait(self, timeout)
        return self.result()

    def _refuse_orphan(self) -> None:
        if this_process.control is None and not self.stage.ended:
            raise CoordinatorNotRunning(
                f"{self!r} belongs to the process that this one is a fork of, and its result will "
                "arrive there; start a coordinator of its own in the fork, and make the call anew"
            )

    def kill(self, reason: str = "killed by the caller") -> bool:
        """End the token now: awaiting it raises `TokenKilled`.

        Returns:
            False if the token had ended already.

        Raises:
            CoordinatorNotRunning: This is a fork of the process that made it.
        """
        self._refuse_orphan()
        control: TokenController | None = this_process.control
        return control is not None and control.kill(self, reason)

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the token, as a future: awaiting it raises `CancelledError`.

        Returns:
            False if the token had ended already.

        Raises:
            CoordinatorNotRunning: This is a fork of the process that made it.
        """
        self._refuse_orphan()
        return in_loop(self.get_loop(), lambda: self._cancel(msg))

    def _cancel(self, msg: Any | None) -> bool:
        if not super().cancel(msg):
            return False
        if observers:
            tell_observers((self,))
        control: TokenController | None = this_process.control
        if control is not None:
            control.token_cancelled(self)
        return True

    def get_status(self) -> Mapping[str, Any]:
        """Everything that is known of the token, for people and logs."""
        return {
            "token_id": self.token_id,
            "operation_type": self.operation_type,
            "weight": self.weight,
            "tags": dict(self.operation.tags),
            "state": self.state.value,
            "core": self.core,
            "seed": self.seed,
            **self.timing._asdict(),
        }

    def __reduce__(self) -> tuple[Any, ...]:
        # As an argument of a call it stands for its value.
        return reduce_token(self)

    def arrived_value(self) -> object:
        """The value, or the value `Encoded`, if there is any; else `NOT_YET`."""
        if self.stage is not TokenState.COMPLETED or not self.done():
            return NOT_YET
        return NOT_YET if self.cancelled() or self.ending_error() is not None else self.result()

    def ending_error(self) -> BaseException | None:
        """The error that the token ended with, to be passed on; None if there is none."""
        self._log_traceback = False
        error: BaseException | None = self._exception
        return error

    def __repr__(self) -> str:
        return f"<Token {self.token_id} {self.operation_type} {self.state.name}>"

    # What its coordinator does to it, in the coordinator's thread.

    if TYPE_CHECKING:

        def deliver(self, result: R) -> None:
            """Resolve the future with the result of the function."""
    else:
        # The method of the future itself: one call less for each token.
        deliver = asyncio.Future.set_result

    def deliver_error(self, error: BaseException) -> None:
        """Resolve the future with the error of the function, or of the token's end."""
        if self.done():  # whoever holds a future can set its result
            return
        self.set_exception(error)
        if issubclass(type(error), TokenKilled):  # (`__class__` of a user's may be anything)
            # Somebody asked for this end: that nobody awaits the token now is nothing to log.
            self._log_traceback = False
        if observers:
            tell_observers((self,))
