"""The initializer: the call that each core process makes before its first token.

It travels packed, in a file without a name which every process of a coordinator inherits, later
replacements included.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tokengate_mp.errors import PayloadError, summary
from tokengate_mp.wire.payload.codec import dumps, loads, to_pickle
from tokengate_mp.wire.payload.definition import define, resolve
from tokengate_mp.wire.payload.pickle_format import PROTOCOL
from tokengate_mp.wire.protocol.inheritance import Inheritance, inheriting, is_needed


class PackedInitializer(bytes):
    """A packed initializer.

    Attributes:
        inheritance: What core processes have to be started with for it; None for nothing.
    """

    inheritance: Inheritance | None = None


def pack_initializer(
    initializer: Callable[..., Any], arguments: tuple[Any, ...]
) -> PackedInitializer:
    """Encode an initializer and its arguments for `unpack_initializer`.

    Locks, queues, pipes and shared memory of multiprocessing are given on as to a child process.

    Raises:
        PayloadError: The initializer or an argument cannot be sent.
    """
    try:
        try:
            return _packed(initializer, arguments)
        except Exception:
            if not is_needed():
                raise
        inheritance = Inheritance((initializer, arguments))
        with inheriting(inheritance):
            packed = _packed(initializer, arguments)
    except Exception as error:
        raise PayloadError(
            f"the initializer or its arguments cannot be sent to a core process: {summary(error)}. "
            "Pass what they are made from instead, and build it in the initializer."
        ) from error
    packed.inheritance = inheritance
    return packed


def _packed(initializer: Callable[..., Any], arguments: tuple[Any, ...]) -> PackedInitializer:
    return PackedInitializer(dumps((define(initializer), to_pickle(arguments)), PROTOCOL))


def inheritance_of(packed: bytes) -> Inheritance | None:
    """Return what core processes have to be started with for a packed initializer, if anything."""
    return packed.inheritance if isinstance(packed, PackedInitializer) else None


def unpack_initializer(packed: bytes) -> Callable[[], object]:
    """Load a packed initializer with its arguments, ready to be called.

    Raises:
        Exception: Whatever importing or unpickling raises.
    """
    definition, arguments = loads(packed)
    return partial(resolve(definition), *loads(arguments))
