"""Values and exceptions of users that raise at whatever is done to them, or as they are loaded.

Each goes by a name, and is made anew where its pickle is loaded: so what arrives is as hostile as
what was sent, however it would have travelled.
"""

from __future__ import annotations

import asyncio
import pickle

from tokengate_mp.wire.protocol.records import Failure, encode

KINDS = (SystemExit, KeyboardInterrupt, ValueError, GeneratorExit, StopIteration, KeyError)
KINDS += (asyncio.CancelledError,)


def raising(kind):
    """Make a method that raises an error of this type."""

    def raise_it(*_args, **_kwargs):
        raise kind("hostile")

    return raise_it


METHODS = (
    "__str__",
    "__repr__",
    "__bool__",
    "__len__",
    "__eq__",
    "__hash__",
    "__getattribute__",
    "__setattr__",
    "__reduce_ex__",
    "__format__",
)
PROPERTIES = ("__class__", "__dict__", "__doc__")
OF_ERRORS = ("add_note", "with_traceback", "__setstate__")
LOOKED_AT = ("__str__", "__class__", "__getattribute__")
"""Methods and properties that are looked at first: each raises everything."""

PROPERTIES_OF_ERRORS = ("__cause__", "__context__", "__notes__", "__traceback__", "args")


class AskedMeta(type):
    """A class of classes that raise when they are asked anything."""

    __instancecheck__ = __subclasscheck__ = __eq__ = raising(SystemExit)
    __hash__ = type.__hash__


class Asked(Exception, metaclass=AskedMeta):
    """An exception whose class raises when it is asked who belongs to it."""


def _odd(name, kind):
    """Give the attributes of a class of which one method or property raises."""
    is_property = name in PROPERTIES or name in PROPERTIES_OF_ERRORS
    return {name: property(raising(kind)) if is_property else raising(kind)}


def _table():
    """Give all classes by name: those of values, and those of exceptions."""
    values, errors = {}, {}
    for name in (*METHODS, *PROPERTIES, *OF_ERRORS, *PROPERTIES_OF_ERRORS):
        for kind in KINDS if name in LOOKED_AT else KINDS[:1]:
            odd, title = _odd(name, kind), f"{name} raises {kind.__name__}"
            errors[title] = type("Error", (Exception,), odd)
            if name in METHODS or name in PROPERTIES:
                values[title] = type("Value", (), odd)
    for name, kind in (("KeyboardInterrupt", KeyboardInterrupt), ("an Encoded", bytes)):
        odd = {"__class__": property(lambda _self, kind=kind: kind)}
        values[f"its class says {name}"] = type("Value", (), odd)
        errors[f"its class says {name}"] = type("Error", (Exception,), odd)
    errors["it is false"] = type("Error", (Exception,), {"__bool__": lambda _self: False})
    errors["its metaclass raises"] = Asked
    errors["its text cannot be encoded"] = type(
        "Error", (Exception,), {"__str__": lambda _self: "\ud800"}
    )
    errors["its text is no text"] = type("Error", (Exception,), {"__str__": lambda _self: 7})
    return values, errors


VALUES, ERRORS = _table()


def make_value(name):
    """Make a value of the class of that name."""
    return VALUES[name].__new__(VALUES[name])


def make_error(name):
    """Make an exception of the class of that name."""
    return ERRORS[name].__new__(ERRORS[name], "its text")


def refuse(name):
    """Raise an error, where something is loaded."""
    raise next(kind for kind in KINDS if kind.__name__ == name)("while it is loaded")


class Made:
    """What loads as something made by a function of a name."""

    def __init__(self, make, name):
        self._made = make, (name,)

    def __reduce__(self):
        return self._made


REFUSALS = [f"{kind.__name__} when loaded" for kind in KINDS]
"""Names of what cannot be loaded, be it a value or an exception."""


def pickled_value(name):
    """Give the pickle of a value."""
    made = Made(refuse, name.split()[0]) if name in REFUSALS else Made(make_value, name)
    return pickle.dumps(made)


def encoded_error(name):
    """Give an exception as the outcome of a token that raised it."""
    made = Made(refuse, name.split()[0]) if name in REFUSALS else Made(make_error, name)
    return encode(Failure(pickle.dumps(made), "Hostile", "its text", "its traceback"))
