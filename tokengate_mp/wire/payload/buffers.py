"""Large payloads: values whose bytes go by the arena, beside the ring.

A pickle of protocol 5 leaves the buffers of large objects aside (numpy arrays, pandas frames,
Arrow tables). Those of `LARGE` bytes or more are put into a block of the arena, and so is the
pickle if it is large by itself. What travels by the ring is a few bytes: a pickle again, of a call
that finds the block and loads what is in it. So whoever loads a value need not know how it came,
and a value that came this way can go on as it is.

What is loaded looks straight at the block, and cannot change it. `bytes` and `bytearray` own their
memory, so these are copies.

Where there is no arena, or no room in it, all this does not happen: the value is an ordinary pickle
and goes by the ring.
"""

from __future__ import annotations

import io
import pickle
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from tokengate_mp.wire.arena.arena import Arena, Block, arena_of
from tokengate_mp.wire.arena.place import Place
from tokengate_mp.wire.payload.attachments import AttachedPickle, Referred
from tokengate_mp.wire.payload.codec import by_value, dumps, to_pickle
from tokengate_mp.wire.payload.pickle_format import PROTOCOL, means_another
from tokengate_mp.wire.payload.stowing import Stowed, stow
from tokengate_mp.wire.payload.views import form_of, view_of

LARGE: Final = 1 << 16
"""From so many bytes on a buffer goes by the arena, and so does a pickle."""

_PLACE: Final = struct.Struct("<QQQQ")

_MARK: Final = b"\x80\x05C" + bytes([_PLACE.size])
"""How a pickle begins that is in a block: with its place, as a byte string that is dropped again.

(`pickle.dumps` begins none like this: it puts a frame around all that is longer than four bytes.)
"""


class _Here(threading.local):
    """The packing and loading that goes on in a thread.

    Attributes:
        packing: Collects what the value that is being pickled depends on.
        writable: Whether what is loaded is to be copied, so that it can be changed.
    """

    packing: Packing | None = None
    writable = False


_here = _Here()


def copy_all() -> None:
    """Copy, from now on, all that is loaded in this process; and so do readers of its pickles.

    For a core process: it is said of its arguments, and of its results wherever they arrive.
    """
    _Here.writable = True


class Packing(list[Any]):
    """The attachments of a pickle that is being made; the first item is the arena for its blocks.

    (A list, since making one costs each call least.)
    """

    __slots__ = ()

    @property
    def arena(self) -> Arena | None:
        """The arena in which the blocks have to be."""
        arena: Arena | None = self[0]
        return arena

    @property
    def attachments(self) -> tuple[Block | Referred, ...]:
        """The blocks and references so far."""
        return tuple(self[1:])

    def add_attachment(self, needed: Block | Referred) -> None:
        """Add a block, or the tokens that the pickle refers to."""
        if needed not in self:
            self.append(needed)


@contextmanager
def packing(arena: Arena | None) -> Iterator[Packing]:
    """Collect the attachments of values that are pickled within the context."""
    before, _here.packing = _here.packing, Packing((arena,))
    try:
        yield _here.packing
    finally:
        _here.packing = before


def current_packing() -> Packing | None:
    """Return the packing that goes on in the calling thread."""
    return _here.packing


# ---- out


def pack(
    value: object, arena: Arena | None, *, writable: bool = False, least: int = LARGE
) -> bytes:
    """Pickle `value` so that both processes can load the pickle; an `AttachedPickle` if needed.

    Args:
        value: The value.
        arena: Where large buffers go; None if there is no such place.
        writable: Whether what is loaded has to be changeable.
        least: From how many bytes on a buffer, or the pickle, goes there.

    Raises:
        Exception: Whatever pickling raises; user code takes part in it.
    """
    # Written out, and without a context manager: every call that is no msgpack comes by here.
    before = _here.packing
    _here.packing = collected = Packing((arena,))
    written = 0
    try:
        if arena is None and not writable:
            pickled = to_pickle(value)
        else:
            pickled, buffers = _dumped(value, least)
            if buffers or len(pickled) >= least:
                pickled, written = _sent_aside(pickled, buffers, collected)
    finally:
        _here.packing = before
    if writable and (len(collected) > 1 or len(pickled) >= least):
        pickled = pickle.dumps(_Writable(bytes(pickled)), PROTOCOL)
    if len(collected) == 1:
        return pickled
    attachments = AttachedPickle(pickled)
    attachments.attachments = collected.attachments
    attachments.written = written
    return attachments


def pack_call(
    args: tuple[Any, ...], kwargs: dict[str, Any], arena: Arena | None, *, writable: bool = False
) -> bytes:
    """Pickle the arguments of a call, as `pack` does a value."""
    if not _FLAT.isdisjoint(map(type, args)):
        args = tuple(map(flat, args))
    if kwargs and not _FLAT.isdisjoint(map(type, kwargs.values())):
        kwargs = {name: flat(value) for name, value in kwargs.items()}
    return pack((args, kwargs), arena, writable=writable)


def _dumped(value: object, least: int) -> tuple[bytes, list[memoryview]]:
    """Return a pickle, and apart from that the buffers of `least` bytes and more."""
    buffers: list[memoryview] = []

    def put_aside(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < least:
            return True  # into the pickle with it
        buffers.append(raw)
        return False

    try:
        pickled = dumps(value, PROTOCOL, buffer_callback=put_aside)
        if not means_another(pickled):
            return pickled, buffers
    except Exception:  # noqa: BLE001, S110 - by value it may work; if not, that raises
        pass
    buffers.clear()
    return by_value(value, buffer_callback=put_aside), buffers


def _sent_aside(pickled: bytes, buffers: list[memoryview], collected: Packing) -> tuple[bytes, int]:
    """Make the pickle that travels, with large parts in blocks if there is room.

    Returns:
        The pickle, and how many bytes were written into blocks.
    """
    arena = collected.arena
    stowed = None if arena is None else stow(arena, pickled, buffers)
    if stowed is None:
        return pickle.dumps(_Together(pickled, buffers), PROTOCOL) if buffers else pickled, 0
    for block in stowed.blocks:
        collected.add_attachment(block)
    loads_it = _Stowed(stowed) if stowed.is_plain else _Gathered(stowed)
    # The call that loads it: its own pickle, without the two bytes that all of them begin with.
    call = pickle.dumps(loads_it, PROTOCOL)[2:]
    return _MARK + _PLACE.pack(*stowed.places[0]) + pickle.POP + call, stowed.written


class _Stowed:
    """Pickles as a call that loads the value in a block."""

    def __init__(self, stowed: Stowed) -> None:
        spans = [(start, end) for _, start, end in stowed.parts]
        self._contents = tuple(stowed.places[0]), spans, stowed.inner

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_copied if _Here.writable else _load, self._contents


class _Gathered:
    """Pickles as a call that loads a value whose parts are in several blocks."""

    def __init__(self, stowed: Stowed) -> None:
        places = [tuple(place) for place in stowed.places]
        buffers = [
            pickle.PickleBuffer(part) if isinstance(part, memoryview) else part
            for part in stowed.parts
        ]
        self._contents = places, stowed.head, buffers

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_gathered, self._contents


class _Together:
    """Pickles as a call that loads a value with its buffers, which were left aside before."""

    def __init__(self, pickled: bytes, buffers: Iterable[memoryview]) -> None:
        self._contents = pickled, list(map(pickle.PickleBuffer, buffers))

    def __reduce__(self) -> tuple[Any, ...]:
        return _loaded_copied if _Here.writable else _loaded, self._contents


class _Writable:
    """Pickles as a call that loads a value with copies of everything in blocks."""

    def __init__(self, pickled: bytes) -> None:
        self._pickled = pickled

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_writable, (self._pickled,)


# ---- in


def _load(place: tuple[int, int, int, int], spans: list[tuple[int, int]], inner: bytes) -> Any:
    at = Place(*place)
    view = arena_of(at.arena).block_at(at).view()
    buffers: Iterable[Any] = [view[start:end] for start, end in spans]
    pickled: Any = inner
    if not inner:
        pickled, *buffers = buffers
    return _loaded(pickled, buffers)


def _load_copied(place: Any, spans: Any, inner: bytes) -> Any:
    return _copying(_load, place, spans, inner)


def _loaded_copied(pickled: Any, buffers: Any) -> Any:
    return _copying(_loaded, pickled, buffers)


def _load_gathered(places: list[Any], head: list[Any], buffers: list[Any]) -> Any:
    return _loaded(*_gathered(places, head, buffers))


def _gathered(places: list[Any], head: list[Any], buffers: list[Any]) -> tuple[Any, list[Any]]:
    """The pickle and the buffers of a value whose parts are in several blocks."""
    views = [arena_of(place[0]).block_at(Place(*place)).view() for place in places]

    def part(piece: Any) -> Any:
        if type(piece) is not tuple:
            return piece
        at, start, end = piece
        return views[at][start:end]

    pickled = part(head[0]) if len(head) == 1 else b"".join(map(part, head))
    return pickled, list(map(part, buffers))


def _loaded(pickled: Any, buffers: Iterable[Any]) -> Any:
    if not _here.writable:
        return pickle.loads(pickled, buffers=buffers)
    buffers = map(bytearray, buffers)
    if _READ_ONLY in bytes(pickled):
        return _Changeable(io.BytesIO(pickled), buffers=buffers).load()
    return pickle.loads(pickled, buffers=buffers)


_READ_ONLY: Final = pickle.NEXT_BUFFER + pickle.READONLY_BUFFER


class _Changeable(pickle._Unpickler):  # noqa: SLF001 - see below
    """Loads buffers that were read-only when pickled as changeable buffers.

    (An array that came as a view is that. Only the unpickler in Python can be told: the one in C
    has its instructions built in.)
    """

    dispatch = {  # noqa: RUF012 - as in its base
        **pickle._Unpickler.dispatch,  # noqa: SLF001 - likewise
        pickle.READONLY_BUFFER[0]: lambda _self: None,
    }


def _load_writable(pickled: bytes) -> Any:
    return _copying(pickle.loads, pickled)


def _copying(load: Callable[..., Any], *arguments: Any) -> Any:
    before, _here.writable = _here.writable, True
    try:
        return load(*arguments)
    finally:
        _here.writable = before


def writable(pickled: bytes) -> bytes:
    """Wrap a pickle so that the value is loaded with copies of everything in blocks."""
    return pickle.dumps(_Writable(bytes(pickled)), PROTOCOL)


def taken_up(pickled: bytes) -> bytes:
    """Attach to a pickle that came from a core process the block that holds the value, if any.

    From here on this process sees to it that the block stays.
    """
    place = place_of(pickled)
    if place is None:
        return pickled
    attachments = AttachedPickle(pickled)
    try:
        block = arena_of(place.arena).claim_block(place)
    except (OSError, ValueError):  # it cannot be mapped; whoever loads it is told so
        attachments.attachments = ()
    else:
        attachments.attachments = () if block is None else (block,)
    return attachments


def detached(pickled: bytes) -> bytes:
    """Return a pickle of the same value that needs no block."""
    if place_of(pickled) is None:
        return pickled
    inner, *buffers = content(pickled)
    return pickle.dumps(_Together(bytes(inner), map(memoryview, buffers)), PROTOCOL)


def content(pickled: bytes) -> Iterable[bytes | memoryview]:
    """Return the parts of a pickle, from blocks too: equal for equal values (as pickles go)."""
    place = place_of(pickled)
    if place is None:
        return (pickled,)
    # The spans and the pickle that belongs to them, as they are loaded: nothing of the value is.
    load, arguments = _Apart(io.BytesIO(pickled)).load()
    if load is _load_gathered:
        whole, buffers = _gathered(*arguments)
        return whole, *buffers
    _place, spans, inner = arguments
    view = arena_of(place.arena).block_at(place).view()
    parts = [view[start:end] for start, end in spans]
    return (inner, *parts) if inner else parts


class _Apart(pickle.Unpickler):
    """Loads a call as its function and arguments, in place of calling."""

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        return lambda *arguments: (found, arguments)


def place_of(pickled: bytes) -> Place | None:
    """Return where the block of a pickle is; None if the value is in the pickle itself."""
    if pickled[: len(_MARK)] != _MARK or len(pickled) < len(_MARK) + _PLACE.size:
        return None
    return Place(*_PLACE.unpack_from(pickled, len(_MARK)))


# ---- what is one piece of memory


class _Flat:
    """Loads as a `bytes`, `bytearray` or `memoryview`, of which pickle would make copies."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __reduce__(self) -> tuple[Any, ...]:
        value = self._value
        buffer = pickle.PickleBuffer(value)
        if type(value) is memoryview:
            return view_of, (buffer, *form_of(value))
        return type(value), (buffer,)


_FLAT: Final = frozenset({bytes, bytearray, memoryview})


def flat(value: Any) -> Any:
    """Return `value`, or a stand-in that sends a large piece of memory without a copy."""
    kind = type(value)
    if kind not in _FLAT:
        return value
    if kind is memoryview:
        return _Flat(value) if value.nbytes >= LARGE and value.c_contiguous else value
    return _Flat(value) if len(value) >= LARGE else value
