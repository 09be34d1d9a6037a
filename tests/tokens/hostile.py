"""Exceptions and values whose class, text or attributes raise, or say what is not so."""

from __future__ import annotations

import asyncio


def raising(error):
    """Make a method or property that raises."""

    def raise_it(*_args, **_kwargs):
        raise error

    return raise_it


class LyingMeta(type):
    """A class of classes that have no name and no module."""

    def __getattribute__(cls, name):
        raise SystemExit(name)


class Text(str):
    """A text whose methods all raise."""

    __slots__ = ()
    __str__ = __repr__ = __format__ = __eq__ = __add__ = raising(SystemExit("of a text"))
    __hash__ = raising(SystemExit("of a text"))


def exception(name, base=Exception, **attributes):
    """Make an exception of a class that has these attributes."""
    return type(base)(name, (base,), attributes)("its text")


def with_meta():
    """Make an exception of a class whose metaclass says nothing true of it."""

    class Meta(LyingMeta):
        pass

    return Meta("Masked", (Exception,), {})("its text")


ENDINGS = (ValueError("a"), KeyboardInterrupt("a"), SystemExit(3), GeneratorExit())
ENDINGS += (asyncio.CancelledError("a"), RecursionError("a"), StopIteration(1))


def exceptions():
    """Give exceptions, each by what is odd about it."""
    for ending in ENDINGS:
        kind = type(ending).__name__
        yield f"str raises {kind}", exception("Mute", __str__=raising(ending))
        yield f"class raises {kind}", exception("Faceless", __class__=property(raising(ending)))
        yield (
            f"getattribute raises {kind}",
            exception("Shut", __getattribute__=raising(ending), __setattr__=raising(ending)),
        )
    yield "str is no text", exception("Odd", __str__=lambda _self: 7)
    yield "str is a raising text", exception("Loud", __str__=lambda _self: Text("loud"))
    yield "module is no text", exception("Lost", __module__=7)
    yield "module raises", exception("Lost", __module__=property(raising(SystemExit(4))))
    yield "module is a raising text", exception("Lost", __module__=Text("there"))
    yield "qualname is a raising text", exception("Named", __qualname__=Text("Named"))
    yield "metaclass lies", with_meta()
    yield "class lies", exception("Pretender", __class__=property(lambda _self: KeyboardInterrupt))
    yield "cause raises", exception("Rootless", __cause__=property(raising(SystemExit(5))))
    yield "with_traceback raises", exception("Untraced", with_traceback=raising(SystemExit(5)))
    yield "traceback raises", exception("Untraced", __traceback__=property(raising(SystemExit(5))))
    yield "notes raise", exception("Noteless", __notes__=property(raising(SystemExit(5))))
