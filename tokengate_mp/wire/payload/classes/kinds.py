"""The kinds of class: how each is taken apart, and put together again."""

from __future__ import annotations

import enum
from typing import Any

from tokengate_mp.wire.payload.classes import bare, contents, enums, structs, structures
from tokengate_mp.wire.payload.reducers.singles import Apart


def take_apart(cls: type) -> Apart:
    """Take a class apart into what makes a bare class, and what it gets then."""
    attributes, registered = contents.of(cls)
    if issubclass(cls, enum.Enum) and enums.MEMBERS in attributes:
        attributes = enums.without_combined(attributes)
        members = enums.members_of(cls)
        filling = attributes, registered, members
        return Apart(enums.make, enums.arguments_of(cls), fill, filling)
    if isinstance(cls, structs.META):
        return Apart(structs.make, structs.arguments_of(cls), fill, (attributes, registered))
    if structures.is_ctype(cls):
        attributes = structures.in_order(cls, attributes)
        return Apart(structures.make, bare.arguments_of(cls), fill, (attributes, registered))
    return Apart(bare.make, bare.arguments_of(cls), fill, (attributes, registered))


def fill(
    cls: type,
    attributes: dict[str, Any],
    registered: list[type],
    members: list[dict[str, Any]] | None = None,
) -> None:
    """Give a bare class what it lacks.

    Args:
        cls: The class.
        attributes: Its attributes.
        registered: Classes that were registered with it as virtual subclasses.
        members: The attributes of the members of an enum.
    """
    contents.fill(cls, attributes, registered)
    if members is not None:
        enums.fill(cls, members)


def reduce_made(cls: Any) -> tuple[Any, ...] | None:
    """Reduce a class that an expression over other classes gives; None if it is no such class."""
    generic = vars(cls).get("__pydantic_generic_metadata__")
    if generic and generic["origin"] is not None:
        arguments = generic["args"]
        return _parameterized, (generic["origin"], arguments)
    return structures.reduce_made(cls)


def _parameterized(origin: Any, arguments: tuple[Any, ...]) -> Any:
    return origin[arguments if len(arguments) > 1 else arguments[0]]
