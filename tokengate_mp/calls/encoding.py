"""How the calls of one function are encoded: as a request, or as a pending_call of one.

Scalars go as msgpack, which keeps them exactly; everything else is pickled, large parts of it
beside the ring. Tokens among the arguments leave placeholders, and an anchor makes a content key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from tokengate_mp.config.options import TokenOptions
from tokengate_mp.errors import PayloadError
from tokengate_mp.wire.payload import fingerprint
from tokengate_mp.wire.payload.attachments import AttachedRecord, attached
from tokengate_mp.wire.payload.buffers import LARGE, pack_call, packing
from tokengate_mp.wire.payload.codec import NOT_MSGPACK, SCALARS, arguments_to_pickle
from tokengate_mp.wire.payload.placeholders import FILLABLE, NOT_YET, Encoded, Placeholders
from tokengate_mp.wire.protocol.pending_call import PendingCall, PlaceholderCall
from tokengate_mp.wire.protocol.records import MAX_PAYLOAD, encode
from tokengate_mp.worker.run.applied import apply

if TYPE_CHECKING:
    from tokengate_mp.wire.arena.arena import Arena


class Surroundings(Protocol):
    """What encoding asks of a coordinator."""

    @property
    def arena(self) -> Arena | None:
        """Where large arguments go; None: with all others."""

    def vouch(self, token: Any) -> None:
        """Let a token be an argument; raises if its value can never be here."""


class CallEncoding:
    """Encodes the calls of a function.

    Args:
        function: The function.
        options: How its tokens are treated.

    Attributes:
        __wrapped__: The plain function.
        token_options: How its tokens are treated.
    """

    # The coordinator that the function is enrolled with, and the index that it has there.
    _enrolled_with: Surroundings | None = None
    _index: int

    def __init__(self, function: Callable[..., Any], options: TokenOptions) -> None:
        self.__wrapped__ = function
        self.token_options = options
        self._anchor = options.sticky_anchor
        self._keep = int(options.sticky_for * 1e9)
        self._writable = options.writable

    @property
    def operation_type(self) -> str:
        """The operation that its tokens count as."""
        return self.token_options.operation_type

    def encoded(
        self,
        number: int,
        index: int,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        anchored: bool,
    ) -> bytes | PendingCall:
        """A call made inside a token as a request, or a pending_call of one.

        Args:
            number: Its token's number.
            index: The function's index.
            args: Positional arguments.
            kwargs: Keyword arguments.
            anchored: Whether it goes where others of its key are, if the function has an anchor.

        Raises:
            PayloadError: An argument cannot be encoded.
        """
        self._index = index
        record: bytes | PendingCall = b""
        if not kwargs and SCALARS.issuperset(map(type, args)):
            try:
                record = encode((number, index, args))
            except NOT_MSGPACK:
                pass
        if not record:
            there = self._pickled(number, args, kwargs)
            assert not isinstance(there, AttachedRecord), (
                "a core process has nowhere to put arguments"
            )
            record = there
        if anchored and self._anchor is not None:
            return self._anchored(record, args, kwargs)
        return record

    def _pickled(
        self, number: int, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> bytes | AttachedRecord | PendingCall:
        """A call as an encoded request, where msgpack would not keep its arguments exactly.

        With tokens among them it is only a pending_call of one.
        """
        if (
            not kwargs
            and SCALARS.issuperset(map(type, args))
            and not any(type(argument) is bytes and len(argument) >= LARGE for argument in args)
        ):
            try:
                return encode((number, self._index, args))
            except NOT_MSGPACK:
                pass
        if not kwargs and not FILLABLE.isdisjoint(map(type, args)):
            listed = self._listed(number, args)
            if listed is not None:
                return listed
        with Placeholders(self._vouch) as placeholders:
            pickled = arguments_to_pickle(
                self.operation_type,
                args,
                kwargs,
                lambda: _parameters(self.__wrapped__),
                partial(pack_call, arena=self._arena(), writable=self._writable),
                applied=self.__wrapped__ is apply,
            )
        if len(pickled) > MAX_PAYLOAD:
            raise PayloadError(
                f"{self.operation_type!r}: the arguments take {len(pickled)} bytes, and a token "
                f"carries {MAX_PAYLOAD} at most; pass a file name instead, or split the work"
            )
        if placeholders.tokens:
            needs = list(enumerate(placeholders.tokens))
            return PlaceholderCall(number, self._index, pickled, needs, writable=self._writable)
        return attached(encode((number, self._index, bytes(pickled))), pickled)

    def _arena(self) -> Arena | None:
        return None if self._enrolled_with is None else self._enrolled_with.arena

    def _vouch(self, token: Any) -> None:
        if self._enrolled_with is not None:
            self._enrolled_with.vouch(token)

    def _listed(self, number: int, args: tuple[Any, ...]) -> bytes | PendingCall | None:
        """The same for scalars and tokens alone, which need no pickle; None: they need one."""
        filled = list(args)
        needs: list[tuple[int, Any]] = []
        for at, argument in enumerate(args):
            if type(argument) in SCALARS:
                continue
            if type(argument) not in FILLABLE:
                return None
            token: Any = argument
            try:
                self._vouch(token)
            except PayloadError:
                return None  # on the other way the error gets to name the argument
            value = token.arrived()
            if value is NOT_YET:
                needs.append((at, token))
                filled[at] = None
            elif type(value) in SCALARS:
                filled[at] = value
            else:
                return None
        try:
            if needs:
                encode(filled)  # what msgpack refuses is better refused now
                return PlaceholderCall(number, self._index, filled, needs, writable=self._writable)
            return encode((number, self._index, filled))
        except NOT_MSGPACK:
            return None

    def _anchored(
        self,
        record: bytes | AttachedRecord | PendingCall,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> PendingCall:
        """An encoded call with its content key."""
        keep = self._keep
        if isinstance(record, PlaceholderCall):  # the values are content too, and not here yet
            record.anchor, record.keep = self._anchor, keep
            return record
        assert isinstance(record, (bytes, AttachedRecord)), (
            "there is no other pending_call of a call without a key"
        )
        anchor = self._anchor or ""
        if not kwargs and SCALARS.issuperset(map(type, args)):
            return PendingCall(record, fingerprint.key(anchor, args, kwargs), keep)
        with Placeholders(self._vouch), packing(self._arena()):
            if not FILLABLE.isdisjoint(map(type, (*args, *kwargs.values()))):
                args = tuple(map(_itself, args))
                kwargs = {name: _itself(value) for name, value in kwargs.items()}
            key = fingerprint.key(anchor, args, kwargs, len(record))
        return PendingCall(record, key, keep)


def _parameters(function: Callable[..., Any]) -> list[str]:
    """The names of a function's positional parameters, as far as they can be found out."""
    import inspect  # noqa: PLC0415 - 10 ms, and only an error names them

    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some built-in functions have no signature
        return []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [each.name for each in parameters if each.kind in positional]


def _itself(argument: Any) -> Any:
    """An argument, or the value of the token that it is."""
    value = argument.arrived() if type(argument) in FILLABLE else argument
    # A value that is still encoded is pickled by the token all the same.
    return argument if value is NOT_YET or isinstance(value, Encoded) else value
