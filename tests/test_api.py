"""The public names: what there is, what it costs to import, and that errors travel."""

from __future__ import annotations

import inspect
import pickle
import signal
import sys
from concurrent.futures import BrokenExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest
import scripts

import tokengate_mp
from tokengate_mp import lifecycle
from tokengate_mp.lifecycle import TRANSITIONS, TokenState

SPECIFIED = {
    "task_token_guard",
    "TokenFunction",
    "OperationsCoordinator",
    "Token",
    "TokenState",
    "TokenGateError",
    "CoordinatorNotRunning",
    "PayloadError",
    "AdmissionRejected",
    "CircuitBreaker",
    "OperationBlocked",
    "TokenKilled",
    "TokenTimeout",
    "WorkerLost",
    "RemoteError",
}


def test_every_public_name_is_there_and_listed():
    """`__all__`, `dir()` and the names that can be imported agree."""
    assert set(tokengate_mp.__all__) >= SPECIFIED
    assert list(tokengate_mp.__all__) == sorted(tokengate_mp.__all__)
    assert set(dir(tokengate_mp)) >= set(tokengate_mp.__all__)
    for name in tokengate_mp.__all__:
        assert getattr(tokengate_mp, name).__name__ == name
        assert getattr(tokengate_mp, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tokengate_mp.nothing  # noqa: B018 - the look itself is what raises
    assert tokengate_mp.__version__


def test_importing_a_decorated_module_loads_no_event_loop(tmp_path):
    """The package and its decorator load neither asyncio nor the coordinator."""
    code = """
        import sys
        import tokengate_mp
        before = set(sys.modules)
        import work
        work.echo.options(weight="light")
        heavy = ["asyncio", "multiprocessing", "concurrent.futures", "logging", "cloudpickle",
                 "psutil", "numpy", "rich", "tokengate_mp.coordinator"]
        print([name for name in heavy if name in sys.modules])
        print("tokengate_mp.calls.decorator" in before)
    """
    assert scripts.output(tmp_path / "light.py", code) == "[]\nFalse\n"


def test_signatures_are_those_of_the_specification():
    """The decorator and the coordinator take the arguments that the specification names."""
    guard = inspect.signature(tokengate_mp.task_token_guard).parameters
    assert list(guard)[:10] == [
        "operation_type",
        "tags",
        "weight",
        "timeout",
        "retries",
        "retry_on",
        "backoff",
        "idempotent",
        "sticky_anchor",
        "external_calls",
    ]
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert [name for name in guard if guard[name].kind is positional] == ["operation_type", "tags"]
    made = inspect.signature(tokengate_mp.OperationsCoordinator).parameters
    assert list(made)[:3] == ["cores", "threads_per_core", "routing"]
    defaults = [made[name].default for name in list(made)[:3]]
    assert defaults == [None, 4, "work_conserving"]


# ---- errors

ERRORS = [
    tokengate_mp.CoordinatorNotRunning("a"),
    tokengate_mp.CoordinatorNotRunning.for_call("op"),
    tokengate_mp.CoordinatorRunning("a"),
    tokengate_mp.PayloadError("a"),
    tokengate_mp.AdmissionRejected("a"),
    tokengate_mp.OperationBlocked("a"),
    tokengate_mp.TokenKilled("t-1", "enough"),
    tokengate_mp.TokenTimeout("a", "work", 1.5),
    tokengate_mp.DependencyFailed("t-3", ("t-1 (load)", "t-2 (parse)"), 0, "ValueError: a"),
    tokengate_mp.CoreStartError("a"),
    tokengate_mp.WireError("a"),
    tokengate_mp.RemoteTraceback("text"),
    tokengate_mp.RemoteError("Kind", "message", "traceback"),
    tokengate_mp.InitializerFailed("a"),
    tokengate_mp.WorkerLost(12, -9, "detail"),
    tokengate_mp.WorkerLost(12, 3),
    tokengate_mp.WorkerLost(12, None),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{type(error).__name__}")
def test_errors_derive_from_one_and_pickle(error):
    """Each error is a TokenGateError, and comes out of a pickle with its fields and its text."""
    assert isinstance(error, tokengate_mp.TokenGateError)
    error.add_note("noted")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        loaded = pickle.loads(pickle.dumps(error, protocol))
        assert type(loaded) is type(error)
        assert (str(loaded), loaded.args, vars(loaded)) == (str(error), error.args, vars(error))


def test_every_error_is_among_those_tried():
    """No error type goes untried above."""
    kinds = {
        value
        for name in tokengate_mp.__all__
        if inspect.isclass(value := getattr(tokengate_mp, name)) and issubclass(value, Exception)
    }
    assert kinds - {type(error) for error in ERRORS} == {tokengate_mp.TokenGateError}


def test_errors_are_also_what_the_standard_library_would_raise():
    """Code that was written for a pool or a timeout goes on catching them."""
    assert issubclass(tokengate_mp.TokenTimeout, TimeoutError)
    assert issubclass(tokengate_mp.WorkerLost, BrokenProcessPool)
    assert issubclass(tokengate_mp.WorkerLost, BrokenExecutor)
    assert issubclass(tokengate_mp.PayloadError, TypeError)
    assert issubclass(tokengate_mp.CoordinatorNotRunning, RuntimeError)
    assert not issubclass(tokengate_mp.TokenKilled, TimeoutError)


@pytest.mark.parametrize(
    ("exitcode", "words", "hint"),
    [
        (-signal.SIGKILL, "was ended by SIGKILL", True),
        (-signal.SIGSEGV, "was ended by SIGSEGV", False),
        (-63, "was ended by ", False),
        (7, "exited with code 7", False),
        (0, "exited with code 0", False),
        (None, "died", False),
    ],
)
def test_worker_lost_says_how_the_process_ended(exitcode, words, hint):
    """Pid, exit code or signal, and at SIGKILL a hint at the OOM killer."""
    text = str(tokengate_mp.WorkerLost(4321, exitcode, "it was running x"))
    assert f"core process 4321 {words}" in text
    assert text.endswith("; it was running x")
    assert ("OOM" in text) is hint


# ---- the states


def test_every_state_is_reached_and_only_the_last_ones_are_final():
    """From CREATED every state can be reached; four of them, and no others, are final."""
    reached, ways = {TokenState.CREATED}, [TokenState.CREATED]
    while ways:
        after = TRANSITIONS[ways.pop()] - reached
        reached |= after
        ways += after
    assert reached == set(TokenState)
    final = {state for state in TokenState if state.ended}
    assert final == {
        TokenState.COMPLETED,
        TokenState.FAILED,
        TokenState.KILLED,
        TokenState.TIMEOUT,
    }
    assert set(TRANSITIONS) == set(TokenState)


@pytest.mark.parametrize("end", [TokenState.KILLED, TokenState.TIMEOUT])
def test_what_has_not_ended_can_be_ended(end):
    """KILLED and TIMEOUT may follow any state that is not final, and none that is."""
    for state in TokenState:
        assert lifecycle.allowed(state, end) is not state.ended


def test_each_transition_is_explained():
    """The table and its explanations name the same transitions."""
    ends = {TokenState.KILLED, TokenState.TIMEOUT}
    edges = {(a, b) for a, after in TRANSITIONS.items() for b in after - ends}
    assert edges == set(lifecycle.EXPLANATIONS)


def test_path_fills_in_only_what_nobody_saw():
    """A token found ended after it was admitted was executed in between, and that is all."""
    s = TokenState
    assert lifecycle.path(s.ADMITTED, s.COMPLETED) == (s.EXECUTING, s.COMPLETED)
    assert lifecycle.path(s.WAITING, s.ADMITTED) == (s.ADMITTED,)
    for before in s:
        for after in s:
            direct = lifecycle.allowed(before, after)
            unseen = before is s.ADMITTED and lifecycle.allowed(s.EXECUTING, after)
            if not (direct or unseen):
                with pytest.raises(ValueError, match=f"{before.name} to {after.name}"):
                    lifecycle.path(before, after)


def test_it_says_on_windows_that_it_does_not_run_there(monkeypatch):
    """Where descriptors cannot be inherited the import itself says so."""
    monkeypatch.setattr(sys, "platform", "win32")
    for name in [name for name in sys.modules if name.startswith("tokengate_mp.coordinator")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match="Windows"):
        import tokengate_mp.coordinator  # noqa: F401 - the import itself is what raises
