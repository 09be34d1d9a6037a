"""Enums: a bare class, and members that are as bare until the enum gets its attributes.

What makes a member (the enum's `__new__` and `__init__`, `auto`, the metaclass) is not run again:
its arguments are not known. A member is an instance with attributes, like others.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import FunctionType
from typing import Any, Final

from tokengate_mp.wire.payload.classes import bare

MEMBERS: Final = "_member_map_"
BY_VALUE: Final = "_value2member_map_"

_CONTAINERS: Final = (list, set, dict, bytearray)
"""Types whose instances are filled by `__init__`, and not by `__new__`."""


def arguments_of(cls: Any) -> tuple[Any, ...]:
    """The arguments of `make` for an enum like this."""
    mixed_in = cls._member_type_
    base = next(kind for kind in mixed_in.__mro__ if _makes_instances(kind))
    members = {id(member): member for member in cls.__members__.values()}.values()
    names = {id(member): at for at, member in enumerate(members)}
    return (
        bare.arguments_of(cls),
        base,
        [_made_from(mixed_in, member) for member in members],
        {name: names[id(member)] for name, member in cls.__members__.items()},
    )


def _makes_instances(kind: type) -> bool:
    new = vars(kind).get("__new__")
    return new is not None and not isinstance(new, (FunctionType, staticmethod))


def _made_from(mixed_in: Any, member: Any) -> tuple[Any, ...]:
    """The arguments from which the type that is mixed in makes an instance like this."""
    if hasattr(mixed_in, "__getnewargs__"):
        arguments: tuple[Any, ...] = mixed_in.__getnewargs__(member)
        return arguments
    if issubclass(mixed_in, _CONTAINERS):
        container = next(kind for kind in _CONTAINERS if issubclass(mixed_in, kind))
        return (container(member),)
    if "__reduce__" in vars(mixed_in):  # of dates and decimals: (type, arguments)
        made = mixed_in.__reduce__(member)
        return tuple(made[1]) if made[0] is type(member) else ()
    if mixed_in is float:
        return (float(member),)
    return ()


def make(
    arguments: tuple[Any, ...],
    base: Any,
    made_from: list[tuple[Any, ...]],
    names: Mapping[str, int],
) -> type:
    """Make an enum with bare members, and nothing else.

    Args:
        arguments: Those of a bare class.
        base: The type whose `__new__` makes its members.
        made_from: The arguments for each.
        names: The names of members, aliases too, and which member each means.
    """
    cls = bare.make(*arguments)
    members = [_member(base, cls, made) for made in made_from]
    bare.assign(cls, MEMBERS, {name: members[at] for name, at in names.items()})
    return cls


def _member(base: Any, cls: type, made_from: tuple[Any, ...]) -> Any:
    if issubclass(base, _CONTAINERS):
        member = base.__new__(cls)
        base.__init__(member, *made_from)
        return member
    return base.__new__(cls, *made_from)


def members_of(cls: Any) -> list[dict[str, Any]]:
    """The attributes of each member, in the order of `make`."""
    members = {id(member): member for member in cls.__members__.values()}.values()
    return [dict(vars(member)) for member in members]


def fill(cls: Any, members: list[dict[str, Any]]) -> None:
    """Give the members of an enum their attributes."""
    made = {id(member): member for member in cls.__members__.values()}.values()
    for member, attributes in zip(made, members, strict=True):
        vars(member).update(attributes)


def without_combined(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return an enum's attributes without members that its flags were combined to.

    They are made when they are first asked for.
    """
    own = {id(member) for member in attributes[MEMBERS].values()}
    found = {value: member for value, member in attributes[BY_VALUE].items() if id(member) in own}
    return {**attributes, BY_VALUE: found}


def reduce_member(member: enum.Enum) -> tuple[Any, ...] | None:
    """Reduce a member to its enum and name; None if it has none, as combined flags have."""
    cls: Any = type(member)
    name: str | None = member._name_
    if name is None or vars(cls).get(MEMBERS, {}).get(name) is not member:
        return None
    return _named, (cls, name)


def _named(cls: Any, name: str) -> Any:
    return vars(cls)[MEMBERS][name]
