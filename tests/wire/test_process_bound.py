"""What belongs to the process that made it: it is refused, and no number of it travels."""

from __future__ import annotations

import contextlib
import io
import mmap
import multiprocessing
import pickle
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading

import pytest

from tokengate_mp import PayloadError, TokenGateExecutor
from tokengate_mp.wire.payload.buffers import pack
from tokengate_mp.wire.payload.codec import to_pickle


@contextlib.contextmanager
def pipe_end():
    """Give an end of a pipe of multiprocessing."""
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        yield ours


@contextlib.contextmanager
def command():
    """Give a command that runs."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process


BOUND = {
    "pipe": pipe_end,
    "socket": socket.socket,
    "command": command,
    "mapped": lambda: mmap.mmap(-1, 1),
    "database": lambda: contextlib.closing(sqlite3.connect(":memory:")),
    "raw file": lambda: io.FileIO(__file__),
    "binary file": lambda: open(__file__, "rb"),  # noqa: SIM115, PTH123 - closed where it is used
    "text file": lambda: open(__file__, encoding="utf-8"),  # noqa: SIM115, PTH123 - likewise
    "temporary file": tempfile.TemporaryFile,
    "generator": lambda: contextlib.closing(number for number in "1"),
    "thread": lambda: contextlib.nullcontext(threading.Thread()),
}


@pytest.mark.parametrize("make", BOUND.values(), ids=BOUND)
def test_objects_of_this_process_are_refused_wherever_they_are(make):
    """It is refused alone and within a value, with a word on what to do instead."""
    with make() as bound:
        for value in (bound, [{"within": bound}], lambda: bound):
            for encode in (to_pickle, lambda value: pack(value, None, writable=True)):
                with pytest.raises(pickle.PicklingError, match=r"; (pass|give|start|connect)"):
                    encode(value)


def test_what_multiprocessing_shares_by_inheritance_is_refused():
    """Locks and queues are refused as multiprocessing refuses them."""
    context = multiprocessing.get_context()
    for make in (context.Lock, context.Event, context.SimpleQueue):
        with pytest.raises(RuntimeError, match="inheritance"):
            to_pickle([make()])


def give_end(folder):
    """Return an end of a pipe, and write files whose numbers might be those of the pipe."""
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        files = [open(f"{folder}/{n}", "w") for n in range(4)]  # noqa: SIM115, PTH123 - as users do
        for file in files:
            file.write(file.name)
            file.close()
        return ours


class Broken(Exception):
    """Refers to an end of a pipe."""


def raise_end():
    """Raise an error that refers to an end of a pipe."""
    ours, theirs = multiprocessing.Pipe()
    theirs.close()
    raise Broken(ours)


def test_pipe_ends_travel_in_no_direction(tmp_path):
    """Argument, result, global and exception: the error comes at once, and all else is whole."""
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs, TokenGateExecutor(1) as executor:
        for call in (
            executor.submit(id, ours),
            executor.submit(lambda: ours.fileno() + 1),
            executor.submit(give_end, str(tmp_path)),
        ):
            assert isinstance(call.exception(), PayloadError)
            assert "an end of a pipe" in str(call.exception())
        assert "Broken" in str(executor.submit(raise_end).exception())
        assert list(executor.map(abs, [-1])) == [1]
        ours.send("whole")
        assert theirs.recv() == "whole"
    assert all((tmp_path / str(n)).read_text() == f"{tmp_path}/{n}" for n in range(4))
