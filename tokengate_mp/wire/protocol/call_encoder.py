"""Calls as requests: the one place where arguments are encoded.

Decorated functions, executors, maps and calls made inside tokens all encode here. Scalars go as
msgpack, which keeps them exactly; everything else is pickled, and large parts of it go beside the
ring. Tokens among the arguments leave placeholders, so that the call is a `PendingCall` until their
values are there; an anchor makes it one with a content key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final, Protocol

from tokengate_mp.errors import PayloadError
from tokengate_mp.wire.arena.arena import Arena
from tokengate_mp.wire.payload import fingerprint
from tokengate_mp.wire.payload.attachments import AttachedPickle, AttachedRecord, attached
from tokengate_mp.wire.payload.buffers import LARGE, flat, pack, pack_call, packing
from tokengate_mp.wire.payload.codec import (
    NOT_MSGPACK,
    SCALARS,
    are_scalars,
    arguments_to_pickle,
    to_pickle,
)
from tokengate_mp.wire.payload.placeholders import FILLABLE, NOT_YET, Encoded, Placeholders
from tokengate_mp.wire.protocol.batches import RANGE
from tokengate_mp.wire.protocol.pending_call import PendingCall, PlaceholderCall
from tokengate_mp.wire.protocol.records import MAX_PAYLOAD, encode

_SIZED: Final = frozenset({bytes, str})
"""The scalars that can be large."""


class Surroundings(Protocol):
    """The coordinator or executor that a call is made in, as far as encoding is concerned."""

    @property
    def arena(self) -> Arena | None:
        """The place of large arguments; None: with all others."""

    def vouch(self, token: Any) -> None:
        """Let a token be an argument; raises `PayloadError` if its value can never be here."""


class CallEncoder:
    """Encodes the calls of one function.

    Args:
        operation_type: The operation of the calls, for errors.
        names: Gives the names of the function's positional parameters, for errors.
        writable: Whether the function gets large arguments as copies that it may change.
        applied: Whether the first argument is the function, which travels with each call.
        takes_tokens: Whether tokens among the arguments stand for their values.
        carrier: The name of the thing that carries the arguments, for errors.
    """

    __slots__ = (
        "_applied",
        "_carrier",
        "_names",
        "_repetition",
        "_takes_tokens",
        "_writable",
        "operation_type",
    )

    def __init__(  # noqa: PLR0913 - those with a default are of one caller each
        self,
        operation_type: str,
        names: Callable[[], list[str]] = list,
        *,
        writable: bool = False,
        applied: bool = False,
        takes_tokens: bool = True,
        carrier: str = "a token",
    ) -> None:
        self.operation_type = operation_type
        self._names = names
        self._writable = writable
        self._applied = applied
        self._takes_tokens = takes_tokens
        self._carrier = carrier
        self._repetition: Any = None

    def encode_call(
        self,
        number: int,
        index: int,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        home: Surroundings | None,
    ) -> bytes | AttachedRecord | PendingCall:
        """Encode a call: as a request, or as a pending call if it has to wait for values.

        Args:
            number: The number of its token.
            index: The index of the function.
            args: Positional arguments.
            kwargs: Keyword arguments.
            home: Where the call is made; None in a core process, which has nowhere to put large
                arguments, and whose parent sees whether tokens can be arguments.

        Raises:
            PayloadError: An argument cannot be encoded.
        """
        if not kwargs:
            if SCALARS.issuperset(map(type, args)):
                sized = home is not None and not _SIZED.isdisjoint(map(type, args))
                if not sized or not _has_large(args):
                    try:
                        return encode((number, index, args))
                    except NOT_MSGPACK:
                        pass
            elif self._takes_tokens and not FILLABLE.isdisjoint(map(type, args)):
                listed = self._encode_listed(number, index, args, home)
                if listed is not None:
                    return listed
        arena = None if home is None else home.arena
        if not self._takes_tokens:
            pickled = self._pickle(args, kwargs, arena)
            return _request(number, index, pickled)
        with Placeholders(_vouching(home)) as placeholders:
            pickled = self._pickle(args, kwargs, arena)
        if placeholders.tokens:
            needs = list(enumerate(placeholders.tokens))
            return PlaceholderCall(number, index, pickled, needs, writable=self._writable)
        return _request(number, index, pickled)

    def _pickle(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], arena: Arena | None
    ) -> bytes:
        pickled = arguments_to_pickle(
            self.operation_type,
            args,
            kwargs,
            self._names,
            partial(pack_call, arena=arena, writable=self._writable),
            applied=self._applied,
        )
        if len(pickled) > MAX_PAYLOAD:
            raise PayloadError(
                f"{self.operation_type!r}: the arguments take {len(pickled)} bytes, and "
                f"{self._carrier} carries {MAX_PAYLOAD} at most; pass a file name instead, or "
                "split the work"
            )
        if type(pickled) is AttachedPickle and arena is not None:
            self._look_for_repetition(pickled, (*args, *kwargs.values()))
        return pickled

    def _look_for_repetition(self, pickled: AttachedPickle, arguments: tuple[Any, ...]) -> None:
        if self._repetition is None:
            from tokengate_mp.wire.protocol.repetition import Repetition  # noqa: PLC0415 - parents only

            self._repetition = Repetition(self.operation_type)
        self._repetition.look(pickled, arguments)

    def _encode_listed(
        self, number: int, index: int, args: tuple[Any, ...], home: Surroundings | None
    ) -> bytes | PendingCall | None:
        """Encode scalars and tokens without a pickle; None if the arguments need a pickle."""
        vouch = _vouching(home)
        filled = list(args)
        needs: list[tuple[int, Any]] = []
        for at, argument in enumerate(args):
            if type(argument) in SCALARS:
                continue
            if type(argument) not in FILLABLE:
                return None
            token: Any = argument
            try:
                vouch(token)
            except PayloadError:
                return None  # on the other way the error gets to name the argument
            value = token.arrived_value()
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
                return PlaceholderCall(number, index, filled, needs, writable=self._writable)
            return encode((number, index, filled))
        except NOT_MSGPACK:
            return None

    def encode_batch(
        self, number: int, index: int, width: int, rows: Sequence[Any], arena: Arena | None
    ) -> bytes | AttachedRecord:
        """Encode a batch of calls (see `worker.run.batch.ManyCalls`).

        Args:
            number: The number of its token.
            index: The index of what makes the calls.
            width: How many arguments each call takes.
            rows: The arguments of each call: a tuple, unless `width` is 1.
            arena: The place of large arguments; None: with all others.

        Raises:
            PayloadError: An argument cannot be encoded.
        """
        if type(rows) is range:
            try:
                return encode((number, index, (RANGE, [rows.start, rows.stop, rows.step])))
            except NOT_MSGPACK:  # beyond 64 bits
                rows = [*rows]
        items = rows if width == 1 else list(chain.from_iterable(rows))
        if are_scalars(items):
            try:
                return encode((number, index, (width, items)))
            except NOT_MSGPACK:
                pass  # one of them has to be pickled after all
        try:
            pickled = pack(((width, [*map(flat, items)]), {}), arena, writable=self._writable)
            if len(pickled) > MAX_PAYLOAD:
                raise PayloadError(f"they take {len(pickled)} bytes")  # noqa: TRY301 - see below
            return _request(number, index, pickled)
        except Exception as error:
            from tokengate_mp.wire.payload.diagnosis.path import refused_items  # noqa: PLC0415 - for errors alone

            raise refused_items(self.operation_type, width, items, error, to_pickle) from error


def with_key(  # noqa: PLR0913, PLR0917 - a call, and what its key is made of
    record: bytes | AttachedRecord | PendingCall,
    anchor: str,
    keep: int,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    home: Surroundings | None,
) -> PendingCall:
    """Give an encoded call its content key.

    Args:
        record: The encoded call.
        anchor: The anchor of its function.
        keep: How long its core stays pinned after the last token of its key, ns.
        args: Positional arguments.
        kwargs: Keyword arguments.
        home: As for `CallEncoder.encode_call`.
    """
    if isinstance(record, PlaceholderCall):  # the values are content too, and not here yet
        record.anchor, record.keep = anchor, keep
        return record
    assert isinstance(record, (bytes, AttachedRecord)), (
        "there is no other pending call of a call without a key"
    )
    if not kwargs and SCALARS.issuperset(map(type, args)):
        return PendingCall(record, fingerprint.key(anchor, args, kwargs), keep)
    with Placeholders(_vouching(home)), packing(None if home is None else home.arena):
        if not FILLABLE.isdisjoint(map(type, (*args, *kwargs.values()))):
            args = tuple(map(_itself, args))
            kwargs = {name: _itself(value) for name, value in kwargs.items()}
        key = fingerprint.key(anchor, args, kwargs, len(record))
    return PendingCall(record, key, keep)


def parameter_names(function: Callable[..., Any]) -> list[str]:
    """The names of a function's positional parameters, as far as they can be found out."""
    import inspect  # noqa: PLC0415 - 10 ms, and only an error names them

    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some built-in functions have no signature
        return []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [each.name for each in parameters if each.kind in positional]


def _request(number: int, index: int, pickled: bytes) -> bytes | AttachedRecord:
    return attached(encode((number, index, bytes(pickled))), pickled)


def _vouching(home: Surroundings | None) -> Callable[[Any], None]:
    return _accept if home is None else home.vouch


def _accept(_token: Any) -> None:
    return None


def _has_large(args: tuple[Any, ...]) -> bool:
    """Whether some bytes or text among scalars had better go by the arena."""
    return any(type(each) in _SIZED and len(each) >= LARGE for each in args)


def _itself(argument: Any) -> Any:
    """The argument, or the value of the token that stands in its place."""
    value = argument.arrived_value() if type(argument) in FILLABLE else argument
    # A value that is still encoded is pickled by the token all the same.
    return argument if value is NOT_YET or type(value) is Encoded else value
