"""The parts of an object that are pickled with it, each with the words for the way to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any, Final

from tokengate_mp.errors import short_name

STEP: Final = " → "
"""Leads from a function to a variable that the function refers to."""

_LONGEST: Final = 40
"""Characters of a key that are shown."""

Part = tuple[str, Any]
"""The words that lead from an object to a part of it, and the part."""


def parts_of(thing: Any) -> Iterator[Part]:
    """Give the parts of an object, as far as they can be named."""
    kind = type(thing)
    for kinds, parts in _PARTS:
        if issubclass(kind, kinds):
            yield from parts(thing)
            break
    if kind not in _WITHOUT_MORE and not issubclass(kind, type):
        yield from _attributes(thing)
        yield f"{STEP}its class {short_name(kind)}", kind


def _of_sequence(sequence: Any) -> Iterator[Part]:
    return ((f"[{at}]", each) for at, each in enumerate(type(sequence).__iter__(sequence)))


def _of_mapping(mapping: dict[Any, Any]) -> Iterator[Part]:
    for key, value in dict.items(mapping):
        yield f"[{_shown(key)}]", value
        yield f" (the key {_shown(key)})", key


def _of_set(members: Any) -> Iterator[Part]:
    return ((" (a member)", each) for each in type(members).__iter__(members))


def _of_method(method: MethodType) -> Iterator[Part]:
    yield ".__self__", method.__self__
    yield "", method.__func__


def _of_partial(call: Any) -> Iterator[Part]:
    yield from (("", call.func), (".args", call.args), (".keywords", call.keywords))


def _of_property(member: property) -> Iterator[Part]:
    return (("", each) for each in (member.fget, member.fset, member.fdel))


def _of_wrapper(member: Any) -> Iterator[Part]:
    yield "", member.__func__


def _of_exception(error: BaseException) -> Iterator[Part]:
    yield ".args", vars(BaseException)["args"].__get__(error)


def _of_function(function: FunctionType) -> Iterator[Part]:
    code, variables = function.__code__, function.__globals__
    for name in dict.fromkeys(_names_in(code)):
        if name in variables:
            yield f"{STEP}{name}", variables[name]
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        if (found := _content(cell)) is not cell:
            yield f"{STEP}{name}", found
    defaults = function.__defaults__ or ()
    named = code.co_varnames[: code.co_argcount][code.co_argcount - len(defaults) :]
    for name, value in (
        *zip(named, defaults, strict=False),
        *(function.__kwdefaults__ or {}).items(),
    ):
        yield f"{STEP}the default of {name!r}", value
    for name, value in vars(function).items():
        yield f".{name}", value
    annotations = _annotations(function)
    yield from ((f"{STEP}the annotation of {name!r}", each) for name, each in annotations.items())


def _of_class(cls: type) -> Iterator[Part]:
    for name, value in type.__dict__["__dict__"].__get__(cls).items():
        if name not in {"__dict__", "__weakref__", "__doc__", "__module__"}:
            yield f".{name}", value
    for base in cls.__bases__:
        yield f"{STEP}its base {short_name(base)}", base


def _attributes(thing: Any) -> Iterator[Part]:
    """Give the attributes of an object, by its dictionary and its slots: none is computed."""
    try:
        yield from (
            (f".{name}", each) for name, each in object.__getattribute__(thing, "__dict__").items()
        )
    except AttributeError:
        pass  # it has none
    for cls in type(thing).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            if name in {"__dict__", "__weakref__"}:
                continue
            try:
                yield f".{name}", object.__getattribute__(thing, name)
            except AttributeError:
                continue  # it was never set


def _names_in(code: CodeType) -> Iterator[str]:
    """Give the global names that code may refer to, with the code of functions within."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return cell


def _annotations(function: FunctionType) -> dict[str, Any]:
    try:
        return function.__annotations__
    except Exception:  # noqa: BLE001 - where they are evaluated late, this runs the user's code
        return {}


def _shown(key: object) -> str:
    if type(key) in {str, int, bool, bytes, float}:
        text = repr(key)
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return f"<{short_name(type(key))}>"


_PARTS: Final[tuple[tuple[Any, Callable[[Any], Iterator[Part]]], ...]] = (
    (FunctionType, _of_function),
    (type, _of_class),
    ((list, tuple), _of_sequence),
    (dict, _of_mapping),
    ((set, frozenset), _of_set),
    (MethodType, _of_method),
    (partial, _of_partial),
    (property, _of_property),
    ((classmethod, staticmethod), _of_wrapper),
    (BaseException, _of_exception),
)
_WITHOUT_MORE: Final = frozenset({FunctionType, MethodType, property, classmethod, staticmethod})
"""Types of objects whose attributes are those of what they hold, or are named above."""
