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


def pack_initializer(initializer: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    """Encode an initializer and its arguments for `unpack_initializer`.

    Raises:
        PayloadError: The initializer or an argument cannot be sent.
    """
    try:
        return dumps((define(initializer), to_pickle(arguments)), PROTOCOL)
    except Exception as error:
        raise PayloadError(
            f"the initializer or its arguments cannot be sent to a core process: {summary(error)}. "
            "Pass what they are made from instead, and build it in the initializer."
        ) from error


def with_authkey(authkey: bytes, packed: bytes) -> bytes:
    """Pack an initializer that first sets the authkey of multiprocessing, for its managers.

    Args:
        authkey: The parent's key.
        packed: The initializer that follows, from `pack_initializer`; empty for none.
    """
    return pack_initializer(_adopt_authkey, (authkey, packed))


def _adopt_authkey(authkey: bytes, packed: bytes) -> None:
    from multiprocessing.process import current_process  # noqa: PLC0415 - ms, seldom needed

    current_process().authkey = authkey
    if packed:
        unpack_initializer(packed)()


def unpack_initializer(packed: bytes) -> Callable[[], object]:
    """Load a packed initializer with its arguments, ready to be called.

    Raises:
        Exception: Whatever importing or unpickling raises.
    """
    definition, arguments = loads(packed)
    return partial(resolve(definition), *loads(arguments))
