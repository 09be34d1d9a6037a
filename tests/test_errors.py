from __future__ import annotations

import builtins
import concurrent.futures
import concurrent.futures.process
import copy
import inspect
import pickle
import signal
import subprocess
import sys

import pytest

import tokengate_mp
from tokengate_mp import errors
from tokengate_mp.errors import (
    AdmissionRejected,
    CoordinatorNotRunning,
    CoordinatorRunning,
    CoreStartError,
    OperationBlocked,
    PayloadError,
    RemoteError,
    RemoteTraceback,
    TokenGateError,
    TokenKilled,
    TokenTimeout,
    WireError,
    describe,
)
from tokengate_mp.worker_lost import InitializerFailed, WorkerLost

EXAMPLES = [
    TokenGateError("text"),
    CoordinatorNotRunning.for_call("op"),
    CoordinatorRunning("text"),
    PayloadError("text"),
    AdmissionRejected("text"),
    OperationBlocked("text"),
    TokenKilled("a-1", "no longer needed"),
    TokenTimeout("text", "work", 1.5),
    CoreStartError("text"),
    WireError("text"),
    InitializerFailed("text"),
    RemoteTraceback("Traceback …"),
    RemoteError("pkg.Weird", "its text", "Traceback …"),
    RemoteError("pkg.Weird", ""),
    WorkerLost(7, -9, "it was running a-1"),
    WorkerLost(7, None),
]


def test_every_error_has_an_example_here():
    """No error of the taxonomy is left out of what follows."""
    defined = {kind for _, kind in inspect.getmembers(errors, inspect.isclass)}
    defined = {kind for kind in defined if issubclass(kind, Exception)} | {
        WorkerLost,
        InitializerFailed,
    }
    assert {type(example) for example in EXAMPLES} == defined


def test_public_errors_are_these():
    """The package exports each of them under its name."""
    for example in EXAMPLES:
        assert getattr(tokengate_mp, type(example).__name__) is type(example)


@pytest.mark.parametrize("error", EXAMPLES, ids=repr)
def test_error_survives_pickling_and_copying(error):
    """In another process it has the same type, text, arguments and fields."""
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(error, protocol))
        assert type(back) is type(error)
        assert str(back) == str(error)
        assert back.args == error.args
        assert vars(back) == vars(error)
    assert str(copy.copy(error)) == str(error)


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        (CoordinatorNotRunning, [RuntimeError]),
        (CoordinatorRunning, [RuntimeError]),
        (PayloadError, [TypeError, pickle.PicklingError]),
        (InitializerFailed, [CoreStartError, concurrent.futures.process.BrokenProcessPool]),
        (TokenTimeout, [TimeoutError, concurrent.futures.TimeoutError]),
        (CoreStartError, [OSError]),
        (
            WorkerLost,
            [
                concurrent.futures.process.BrokenProcessPool,
                concurrent.futures.BrokenExecutor,
                RuntimeError,
            ],
        ),
    ],
)
def test_error_is_caught_by_the_standard_librarys_name(kind, bases):
    """Code that was written for a pool goes on catching what it used to catch."""
    assert issubclass(kind, TokenGateError)
    for base in bases:
        assert issubclass(kind, base)


def test_errors_are_exceptions_and_nothing_wider():
    """`except Exception` catches every one; none passes for a cancellation or an exit."""
    for example in EXAMPLES:
        assert isinstance(example, TokenGateError)
        assert isinstance(example, Exception)


def test_call_without_a_coordinator_says_how_to_start_one():
    """Who was called, what is missing, and the line to write."""
    text = str(CoordinatorNotRunning.for_call("hash"))
    assert "'hash'" in text
    assert "async with OperationsCoordinator()" in text
    assert "__wrapped__" in text


def test_killed_token_says_which_and_why():
    """Both are there as fields too."""
    error = TokenKilled("a-1", "no longer needed")
    assert str(error) == "token a-1 was killed: no longer needed"
    assert (error.token_id, error.reason) == ("a-1", "no longer needed")


@pytest.mark.parametrize(
    ("exitcode", "signalled", "said"),
    [
        (-signal.SIGKILL, signal.SIGKILL, ["SIGKILL", "OOM killer", "fewer cores"]),
        (-signal.SIGSEGV, signal.SIGSEGV, ["SIGSEGV", "PYTHONFAULTHANDLER=1"]),
        (-signal.SIGTERM, signal.SIGTERM, ["was ended by SIGTERM"]),
        (-250, 250, ["was ended by signal 250"]),
        (3, None, ["exited with code 3", "os._exit"]),
        (0, None, ["exited with code 0"]),
        (None, None, ["core process 7 died"]),
    ],
)
def test_lost_worker_says_how_it_ended(exitcode, signalled, said):
    """Process id, exit code or signal, what it was doing, and where to look."""
    error = WorkerLost(7, exitcode, "it was running a-1")
    assert (error.pid, error.exitcode, error.signal) == (7, exitcode, signalled)
    text = str(error)
    assert text.startswith("core process 7 ")
    assert text.endswith("; it was running a-1")
    assert all(words in text for words in said)
    assert ("OOM" in text) == (signalled == signal.SIGKILL)


def test_remote_error_carries_what_could_not_come_itself():
    """Type name, message and traceback, as text."""
    error = RemoteError("pkg.Weird", "its text", "Traceback …")
    assert str(error) == "pkg.Weird: its text"
    assert (error.type_name, error.message, error.traceback) == error.args
    assert str(RemoteError("pkg.Weird", "")) == "pkg.Weird"


def test_remote_traceback_is_printed_under_the_users_exception():
    """As the cause of an exception it shows up in the traceback, set apart."""
    assert str(RemoteTraceback("Traceback:\n  there\n")) == '\n"""\nTraceback:\n  there\n"""'


def test_describe_names_the_type_and_survives_a_text_that_fails():
    """Builtin types go by their name alone, others with their module; no __str__ is trusted."""

    class Mute(Exception):
        def __str__(self):
            raise ValueError

    assert describe(builtins.ValueError("x")) == ("ValueError", "x")
    assert describe(WireError("x")) == ("tokengate_mp.errors.WireError", "x")
    name, text = describe(Mute())
    assert name.endswith("Mute")
    assert text == "<its __str__ raised ValueError>"


def test_errors_load_without_multiprocessing():
    """A core process that imports the errors does not pay for one that only the parent raises."""
    code = (
        "import sys, tokengate_mp.errors; "
        "sys.exit(any(m.startswith(('multiprocessing', 'concurrent')) for m in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
