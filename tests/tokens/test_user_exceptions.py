"""What an exception of a user raises while it is described or delivered goes no further."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import traceback

import hostile
import pytest

from tokengate_mp import RemoteError
from tokengate_mp.config.manner import ORDINARY
from tokengate_mp.errors import (
    RemoteTraceback,
    belongs_to,
    cause_of,
    describe,
    link,
    note,
    summary,
    traceback_of,
)
from tokengate_mp.sigint import is_raised_by
from tokengate_mp.wire.protocol import delivery
from tokengate_mp.wire.protocol.failures import failure
from tokengate_mp.worker.run import function

ODD = dict(hostile.exceptions())


@pytest.fixture(params=ODD)
def odd(request):
    """An exception of a class that is up to no good."""
    return ODD[request.param]


def test_it_is_described(odd):
    """Its type and its text are plain strings, and something is said of either."""
    name, text = describe(odd)
    assert type(name) is type(text) is str
    assert name
    assert text in {"its text", "loud"} or text.startswith("<its __str__ raised ")
    assert summary(odd) == f"{name}: {text}"


def test_its_name_is_the_true_one():
    """Whatever a metaclass says; and with the module, where that is one."""
    assert describe(ODD["metaclass lies"])[0].endswith("Masked")
    assert describe(ODD["module is no text"])[0] == "Lost"
    assert describe(ODD["module is a raising text"])[0] == "there.Lost"
    assert describe(ODD["class lies"])[0] == "hostile.Pretender"
    assert describe(ODD["str is no text"])[1] == "<its __str__ raised TypeError>"


def test_it_takes_notes_and_a_cause(odd):
    """Or refuses the notes; its cause is what it was given."""
    note(odd, "a note")
    belongs_to(odd, 3, 1, "work")
    cause = RemoteTraceback("there")
    link(odd, "__cause__", cause)
    assert cause_of(odd) is cause
    link(odd, "__context__", cause)


def test_it_travels(odd):
    """It arrives as itself or as a RemoteError, with the traceback as its cause."""
    arrived = delivery.raised(failure(odd))
    assert issubclass(type(arrived), (type(odd), RemoteError))
    assert type(cause_of(arrived)) is RemoteTraceback


def test_a_function_that_cannot_be_loaded_raises_it(odd, monkeypatch):
    """Each time anew, and without the frames of the time before."""

    def resolve(_definition):
        raise odd

    monkeypatch.setattr(function, "resolve", resolve)
    call = function.Function(b"", ORDINARY).load()
    lengths = []
    for _ in range(3):
        try:
            call(1)
        except BaseException as error:  # noqa: BLE001 - an odd one
            assert error is odd  # noqa: PT017 - only some can be told by their type
            lengths.append(len(list(traceback.walk_tb(traceback_of(error)))))
    assert lengths == [lengths[0]] * 3


def test_a_future_delivers_it(odd):
    """Whoever awaits it gets it."""

    async def main():
        future = asyncio.get_running_loop().create_future()
        future.set_exception(odd)
        try:
            await future
        except BaseException as error:  # noqa: BLE001 - an odd one
            return error is odd

    assert asyncio.run(main())


class Loaded:
    """A value whose loading does something."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def raise_in_loading(kind):
    """Raise an exception of this type; called when a pickle is loaded."""
    raise kind("while it is loaded")


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("thread", ["main thread", "other thread"])
def test_a_result_that_raises_when_loaded_is_refused(kind, thread):
    """Whatever it raises: as KeyboardInterrupt it is no Ctrl-C."""
    pickled = delivery_pickle(Loaded(raise_in_loading, kind))
    errors = []

    def load():
        try:
            delivery.result(pickled)
        except BaseException as error:  # noqa: BLE001 - its type is looked at below
            errors.append(error)

    if thread == "main thread":
        load()
    else:
        other = threading.Thread(target=load)
        other.start()
        other.join()
    (error,) = errors
    assert type(error).__name__ == "PayloadError"
    assert type(error.__cause__) is kind
    assert kind.__name__ in str(error)


def press_ctrl_c(presses):
    """Press Ctrl-C, as often as is left to do; called when a pickle is loaded."""
    if presses:
        presses.pop()
        signal.raise_signal(signal.SIGINT)
    return os.getpid()


def delivery_pickle(value):
    """Give the pickle of a value that this module's functions load."""
    import pickle

    return pickle.dumps(value)


def test_ctrl_c_while_a_result_is_loaded_is_ctrl_c():
    """It is raised, and the result is not refused for it."""
    with pytest.raises(KeyboardInterrupt):
        delivery.result(delivery_pickle(Loaded(signal.raise_signal, signal.SIGINT)))


def test_ctrl_c_while_an_error_is_described_is_ctrl_c():
    """And what an error's own text raises is not."""
    presses = [None]
    error = hostile.exception("Slow", __str__=lambda _self: str(press_ctrl_c(presses)))
    with pytest.raises(KeyboardInterrupt):
        describe(error)
    assert describe(error)[1] == str(os.getpid())


class Interruption(BaseException):
    """What is raised in a thread from outside."""


def test_code_is_told_from_what_hits_it():
    """What code raises by itself it raises again; an `Exception` is always its own."""
    hits = [Interruption()]

    def hit_once():
        if hits:
            raise hits.pop()

    assert is_raised_by(hostile.raising(Interruption()), Interruption())
    with pytest.raises(Interruption) as hit:
        hit_once()
    assert not is_raised_by(hit_once, hit.value)
    assert is_raised_by(hit_once, ValueError())
