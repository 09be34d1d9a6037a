"""Content keys: what two calls have in common that are to run where the same data is warm.

The key is made from what the arguments *are*, not from the record that they travel as: that has
the token's number in it, and one and the same call may be encoded in two ways. Arguments of scalars
are msgpack; all others are pickled *without memo*, since an ordinary pickle also tells which of
its equal parts are one object, and that is no content. A set that is an argument is taken in
order. (One deeper inside is taken as it stands, and so is a dict.) A structure whose parts are
shared so much that it would not end, or that contains itself, is pickled with memo after all: for
such a one equal content may give two keys, which costs a warm cache and nothing else.

(It stands here and not with the pins in `scheduling`, because calls make the keys, and the
decorator that they go through is loaded in core processes, which have no scheduler.)
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any, Final, Protocol, cast

from tokengate_mp.wire.payload.codec import NOT_MSGPACK, SCALARS, to_pickle
from tokengate_mp.wire.payload.msgpack import encode
from tokengate_mp.wire.payload.pickle_format import PROTOCOL

SHORT: Final = 64
"""Arguments that take no more bytes than this are a key as they stand."""

UNFOLDED: Final = 16
"""A pickle without memo may be so many times as long as the one that travels, and no more."""

_DIGEST: Final = b"#"
"""Marks a digest: msgpack begins no array with it, as it begins each key that is none."""


class _Unfolds(Exception):
    """Raised where a pickle without memo would be too long."""


def digest(*parts: bytes | memoryview) -> bytes:
    """Return a digest of bytes, as short as a key should be."""
    from hashlib import blake2b  # noqa: PLC0415 - some ms that few core processes need pay

    made = blake2b(digest_size=32)
    for part in parts:
        made.update(part)
    return made.digest()


class _Hashing:
    """A file that keeps nothing of the written bytes but a digest.

    Args:
        begin: What the digest begins with.
        limit: The most bytes that may be written.
    """

    def __init__(self, begin: bytes, limit: int) -> None:
        from hashlib import blake2b  # noqa: PLC0415 - as in `digest`

        self.hash = blake2b(begin, digest_size=32)
        self._left = limit

    def write(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            raise _Unfolds
        self.hash.update(data)


class _Fast(Protocol):
    """The attribute of a pickler that typeshed leaves out."""

    fast: bool


def key(
    anchor: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], travelling: int = 0
) -> bytes:
    """Return the key of a call: the same for the same anchor and arguments.

    The order of keyword arguments does not matter.

    Args:
        anchor: What tells these calls from others with the same arguments.
        args: Positional arguments.
        kwargs: Keyword arguments.
        travelling: How many bytes the record of the call takes.

    Raises:
        Exception: What pickling raises.
    """
    named = sorted(kwargs.items()) if kwargs else None
    if SCALARS.issuperset(map(type, args)) and SCALARS.issuperset(map(type, kwargs.values())):
        try:
            plain = encode((anchor, args, named))
        except NOT_MSGPACK:
            pass
        else:
            if len(plain) <= SHORT:
                return plain
            return _DIGEST + digest(plain)
    begin = anchor.encode("utf-8", "surrogatepass") + b"\0"
    file = _Hashing(begin, UNFOLDED * (travelling + 4096))
    pickler = pickle.Pickler(file, PROTOCOL)
    cast("_Fast", pickler).fast = True
    plain_args = tuple(map(_in_order, args))
    plain_named = named and [(name, _in_order(value)) for name, value in named]
    try:
        pickler.dump((plain_args, plain_named))
    except Exception:  # noqa: BLE001 - it may work with memo, or by value; if not, that raises
        return _DIGEST + digest(begin, to_pickle((args, named)))
    return _DIGEST + file.hash.digest()


def _in_order(value: object) -> object:
    """Return `value`; for a set, its members in a certain order."""
    if type(value) in {set, frozenset}:
        members: Any = value
        return type(value), sorted(to_pickle(member) for member in members)
    return value
