"""Functions as bytes: by name where a core process can import it, by value where it cannot."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import reduce
from importlib import import_module
from types import FunctionType
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

import msgspec

from tokengate_mp.config.manner import ORDINARY, Manner
from tokengate_mp.errors import WireError
from tokengate_mp.wire.payload.codec import loads
from tokengate_mp.wire.payload.fingerprint import digest
from tokengate_mp.wire.payload.module_files import check_file, file_of
from tokengate_mp.wire.payload.msgpack import decoder, encode
from tokengate_mp.wire.payload.pickle_format import is_registered

IDENTITY: Final = "__tokengate_identity__"
"""Attribute of a plain function that holds what `identify` gave it."""


class _Definition(msgspec.Struct, array_like=True, frozen=True):
    """A function as encoded by `define`.

    Attributes:
        key: Its name or identity.
        pickled: The function by value; None for a function that goes by name.
        manner: How its tokens are run.
        file: The file of its module, for a function that goes by name.
    """

    key: str | None
    pickled: bytes | None
    manner: Manner
    file: str | None = None


_decode = decoder(_Definition)

PLAIN: Final = "__tokengate_plain__"
"""Attribute of a decorated function that holds the plain one."""


OWN: Final = "__tokengate_define__"
"""Method of a callable that knows by itself how it travels; what it gives unpickles as that."""


def innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the user's function that a callable of ours calls."""
    while hasattr(type(function), OWN):
        function = function._function  # type: ignore[attr-defined]  # noqa: SLF001 - of all of these
    return function


def name_of(function: Callable[..., Any]) -> str | None:
    """Return `module:qualname` if importing that gives `function` or its wrapper; else None."""
    try:
        module = getattr(function, "__module__", None)
        qualname = getattr(function, "__qualname__", None)
        if type(module) is not str or type(qualname) is not str or module == "__main__":
            return None
        if is_registered(module):
            return None
        found: Any = reduce(getattr, qualname.split("."), sys.modules[module])
        if found is function or getattr(found, PLAIN, None) is function:
            return f"{module}:{qualname}"
    except Exception:  # noqa: BLE001 - it is not there, or looking for it runs user code
        return None
    return None


def named(name: str) -> Callable[..., Any]:
    """Return the plain function of a name that `name_of` gave.

    Raises:
        Exception: Whatever importing its module raises.
    """
    module, _, qualname = name.partition(":")
    found: Any = reduce(getattr, qualname.split("."), import_module(module))
    plain: Callable[..., Any] = getattr(found, PLAIN, found)
    return plain


def identify(function: Callable[..., Any]) -> None:
    """Give a function an identity that stays the same in every process, also by value.

    It travels among the attributes of the function. So a process that gets a copy, as part of
    whatever else, can tell which function it is, and does not pass on its copy as a new one.
    """
    if isinstance(function, FunctionType) and IDENTITY not in vars(function):
        vars(function)[IDENTITY] = os.urandom(8).hex()


Unchanged = Callable[[], bool]
"""Tells whether global variables are bound as they were."""


class Defined(NamedTuple):
    """A function as it travels, and for how long.

    Attributes:
        definition: The function, encoded.
        key: What it is known by, in this form, in every process; None if by nothing.
        unchanged: Tells whether the global variables it came with are bound as they were; None if
            it has brought none.
        watches: Where `unchanged` can be kept for as long as its owner, so that it keeps nothing
            alive by itself; None if there is none.
    """

    definition: bytes
    key: str | None
    unchanged: Unchanged | None
    watches: WeakKeyDictionary[Any, Unchanged] | None


def defined(function: Callable[..., Any], manner: Manner = ORDINARY) -> Defined:
    """Encode a function.

    Args:
        function: The function.
        manner: How its tokens are run.

    Raises:
        Exception: Whatever pickling raises; a closure may hold anything.
    """
    name = name_of(function)
    if name is not None:
        by_name = encode((name, None, manner, file_of(name.partition(":")[0])))
        return Defined(by_name, name, None, None)
    # Not above: most core processes define nothing, and would start later by as long as it takes.
    from tokengate_mp.wire.payload.namespaces.reach import reaching  # noqa: PLC0415

    own = getattr(type(function), OWN, None)
    key: str | None = None
    with reaching() as reach:
        if own is not None:
            pickled = own(function)
        else:
            from tokengate_mp.wire.payload import by_value  # noqa: PLC0415 - 40 ms, seldom needed

            pickled = by_value.define(function)
    if own is None:
        key = _identity_of(function)
        # With the variables that it refers to, as they are: else it is another one.
        if key is not None and (state := reach.state()):
            key = f"{key}:{digest(repr(state).encode()).hex()}"
    return Defined(encode((key, pickled, manner)), key, reach.watch(), reach.watches())


def define(function: Callable[..., Any], manner: Manner = ORDINARY) -> bytes:
    """Encode a function, as it is now.

    Args:
        function: The function.
        manner: How its tokens are run.

    Raises:
        Exception: Whatever pickling raises; a closure may hold anything.
    """
    return defined(function, manner).definition


def _identity_of(function: Callable[..., Any]) -> str | None:
    if type(function) is not FunctionType:  # no other has one, and an object may say anything
        return None
    return vars(function).get(IDENTITY)


def about(definition: bytes) -> tuple[str | None, Manner]:
    """Return the key of a defined function, and its manner, without loading anything.

    Raises:
        WireError: It is no definition.
    """
    decoded = _decode(definition)
    return decoded.key, decoded.manner


def resolve(definition: bytes) -> Callable[..., Any]:
    """Load the function of a definition that `define` made.

    Raises:
        WireError: It is no definition.
        PayloadError: Its module is another module here.
        Exception: Whatever importing or unpickling it raises.
    """
    decoded = _decode(definition)
    if decoded.pickled is not None:
        function: Callable[..., Any] = loads(decoded.pickled)
        return function
    if decoded.key is None:
        raise WireError("a definition is by name or by value, and this one by neither")
    function = named(decoded.key)
    check_file(decoded.key.partition(":")[0], decoded.file)
    return function
