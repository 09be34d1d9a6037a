"""Calls that are more than a record: what they ask for is brought before the scheduler.

A call with tokens among its arguments is withheld until these have ended. Their values are then
put into the pending call, in the bytes that came from the cores, and its token gets into a lane
like any other. The record is made when the token is sent, so that a large value which many wait for
is not copied for each of them beforehand. If a token among the arguments failed or was killed, the
call is not made: its token fails or is killed too, and so on with those that wait for that one.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic_ns
from typing import Any, Final, cast

from tokengate_mp.engine.admission import Admission
from tokengate_mp.engine.control import TokenControl
from tokengate_mp.errors import DependencyFailed, PayloadError, TokenKilled, cause_of, summary
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.sigint import is_raised_by
from tokengate_mp.tokens.token import Token
from tokengate_mp.wire.payload.attachments import AttachedRecord, referring
from tokengate_mp.wire.payload.buffers import pack
from tokengate_mp.wire.payload.codec import SCALARS
from tokengate_mp.wire.payload.placeholders import NOT_YET, Encoded
from tokengate_mp.wire.protocol.pending_call import PendingCall, PlaceholderCall
from tokengate_mp.wire.protocol.references import encoding

NAMED: Final = 16
"""How many tokens of a chain a `DependencyFailed` names: those at its two ends."""


class PendingCalls:
    """The pending calls of tokens, from the call to the record.

    Args:
        scheduler: Who is told what they ask for.
        admission: Who counts the bytes of what is pending.
        control: Where tokens end that cannot run.

    Attributes:
        arriving: By number of a token, the pending call that the engine has not taken in.
        needed: The numbers of tokens that others need, from the call on: their values stay encoded.
        unfinished: Whether tokens may be sent whose record is still a pending call.
    """

    def __init__(self, scheduler: Scheduler, admission: Admission, control: TokenControl) -> None:
        self._scheduler = scheduler
        self._relations = scheduler.relations
        self._admission = admission
        self._control = control
        self.arriving: dict[int, PendingCall] = {}
        self.needed: set[int] = set()
        self.unfinished = False

    def arrive(self, number: int, pending_call: PendingCall) -> None:
        """Take in a call that was made, in whatever thread."""
        self._need(pending_call)
        self.arriving[number] = pending_call

    def _need(self, pending_call: PendingCall) -> None:
        """Have the values of a call's dependencies stay encoded."""
        self.needed.update(need.number for need in pending_call.needs)

    # ---- in

    def take_out(self, tokens: Iterable[Token[Any]]) -> list[Token[Any]]:
        """Submit the new tokens that have a pending call; the others are given back."""
        plain: list[Token[Any]] = []
        anchored: list[tuple[Ticket, bytes, int]] = []
        for token in tokens:
            pending_call = self.arriving.pop(token.number, None)
            if pending_call is None:
                plain.append(token)
            elif isinstance(pending_call, PlaceholderCall):
                self.withhold(token, pending_call)
            else:
                token.record = pending_call.record
                anchored.append((token, pending_call.key or b"", pending_call.keep))
        if anchored:
            self._scheduler.anchored(anchored, monotonic_ns())
        return plain

    def enter(self, token: Token[Any], pending_call: PendingCall) -> None:
        """Submit a token that was made inside a token, of a call that is more than a record."""
        if isinstance(pending_call, PlaceholderCall):
            self._need(pending_call)
            self.withhold(token, pending_call)
        else:
            token.record = pending_call.record
            self._scheduler.anchored(
                [(token, pending_call.key or b"", pending_call.keep)], monotonic_ns()
            )

    def withhold(self, token: Token[Any], pending_call: PlaceholderCall) -> None:
        """Submit a new token that depends on others, of which some may have ended."""
        token.record = pending_call
        self.unfinished = True
        if token.stage.ended:
            # Killed on its way here. (What another pending call needs too is then encoded anew.)
            self.needed.difference_update(need.number for need in pending_call.needs)
            return
        needs = cast("list[Token[Any]]", pending_call.needs)
        pending_call.needs = []
        lacking: list[tuple[int, int]] = []
        there: list[tuple[Token[Any], int]] = []
        for at, need in enumerate(needs):
            if need.stage.ended:
                self.needed.discard(need.number)
                there.append((need, at))
            else:
                lacking.append((need.number, at))
        self._relations.withheld(token, lacking)
        for need, at in there:
            if not self._fill(token, at, need, _carried(need)):
                return
        if not lacking:
            self._release(token, pending_call)

    def walk(self) -> None:
        """Go from ended tokens to their dependents, and on to the dependents of failed dependents.

        (In a loop, not from call to call: a chain may be long.)
        """
        while ended := self._relations.take_ended():
            for ticket, dependents in ended:
                need = cast("Token[Any]", ticket)
                self.needed.discard(need.number)
                value = _carried(need)
                for dependent, at in dependents:
                    token = cast("Token[Any]", dependent)
                    if token.stage.ended or not self._fill(token, at, need, value):
                        continue
                    if self._relations.supplied(token):
                        self._release(token, cast("PlaceholderCall", token.record))

    def _fill(self, token: Token[Any], at: int, need: Token[Any], value: object) -> bool:
        """Put the value of a dependency into a pending call; False if the call cannot run."""
        if issubclass(type(value), BaseException):
            self._fail(token, need, cast("BaseException", value))
            return False
        try:
            cast("PlaceholderCall", token.record).fill(at, value, need.core)
        except PayloadError as error:
            self._relations.failed(token)
            self._control.deliver_error(token, error)
            return False
        return True

    def _fail(self, token: Token[Any], need: Token[Any], error: BaseException) -> None:
        """End a token that cannot run, since a dependency has no value."""
        killing = _as_killed(error)
        if killing is not None:
            self._scheduler.killed(token)
            root = _as_killed(cause_of(killing)) or killing
            killed = TokenKilled(
                token.token_id, f"it needs token {root.token_id}, which was killed: {root.reason}"
            )
            killed.__cause__ = root
            self._control.deliver_error(token, killed)
        else:
            self._relations.failed(token)
            self._control.deliver_error(token, _dependency_failed(token, need, error))

    def _release(self, token: Token[Any], pending_call: PlaceholderCall) -> None:
        """Let a token into a lane: the values of all its dependencies are there."""
        pending_call.make_key()
        self._relations.released(
            token, pending_call.key, pending_call.keep, monotonic_ns(), pending_call.home
        )

    # ---- out

    def record(self, ticket: Ticket) -> bytes | AttachedRecord:
        """The record of a token that is about to be sent."""
        token = cast("Token[Any]", ticket)
        record = token.record
        if isinstance(record, PendingCall):
            record = record.complete()
            self._admission.exchange(token, record)
        return record


def _carried(need: Token[Any]) -> object:
    """The value of an ended token as bytes or scalar for the wire; or the token's error."""
    if need.stage is TokenState.COMPLETED:
        value = need.arrived_value()
        if type(value) in SCALARS or type(value) is Encoded:
            return value
        if value is not NOT_YET:
            return _encoded(value)
    ending = need.ending_error()
    if need.stage is TokenState.KILLED and _as_killed(ending) is None:
        return TokenKilled(need.token_id, "it was cancelled")
    if ending is None:  # whoever holds a future can cancel it when it has ended elsewhere
        return TokenKilled(need.token_id, "its value was not kept")
    return ending


def _encoded(value: object) -> Encoded | BaseException:
    """A value that was loaded here, encoded anew; or the error that encoding raises.

    Raises:
        KeyboardInterrupt: Ctrl-C came meanwhile.
    """
    carried: list[Any] = []
    encoding.references = carried
    try:
        pickled = pack(value, None)
    except BaseException as error:
        if not is_raised_by(lambda: pack(value, None), error):
            raise
        return error
    finally:
        encoding.references = None
    return Encoded(referring(pickled, carried) if carried else pickled)


def _as_killed(error: BaseException | None) -> TokenKilled | None:
    """An error as the end of a killed token; None if it is anything else.

    By the true types: an error may be the user's, whose class and attributes are code.
    """
    if type(error) is not TokenKilled:
        return None
    return error if type(error.reason) is type(error.token_id) is str else None


def _dependency_failed(
    token: Token[Any], need: Token[Any], error: BaseException
) -> DependencyFailed:
    name = f"{need.token_id} ({need.operation_type})"
    cause = cause_of(error)
    if type(error) is DependencyFailed and cause is not None and _is_whole(error):
        omitted, reason = error.omitted, error.reason
        chain = (*error.chain, name)
        if len(chain) > NAMED:
            middle = NAMED // 2
            chain = chain[:middle] + chain[middle + 1 :]
            omitted += 1
    else:
        cause, omitted, reason, chain = error, 0, summary(error), (name,)
    failed = DependencyFailed(token.token_id, chain, omitted, reason)
    failed.__cause__ = cause
    return failed


def _is_whole(error: DependencyFailed) -> bool:
    """Whether an error has what it says: a function may raise one with anything in it."""
    return type(error.chain) is tuple and type(error.omitted) is int and type(error.reason) is str
