"""What a function raises is what its token raises, with the way to the user's own line."""

from __future__ import annotations

import asyncio
import re
import sys
import traceback

import msgspec
import pytest
import work

from tokengate_mp import (
    OperationsCoordinator,
    RemoteError,
    RemoteTraceback,
    TokenState,
    task_token_guard,
)


@pytest.fixture(scope="module", autouse=True)
def coordinator():
    """A coordinator with one core."""
    with OperationsCoordinator(cores=1) as running:
        yield running


class Own(Exception):
    def __init__(self, code: int, *, detail: str = "") -> None:
        super().__init__(code)
        self.detail = detail


class WillNotPickle(Exception):
    def __reduce__(self):
        raise RuntimeError("never")


class WillNotLoad(Exception):
    """It pickles, but its constructor wants more than its args."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")


class LoadsAsSomethingElse(Exception):
    def __reduce__(self):
        return dict, ()


class StopsWhenLoaded(Exception):
    def __reduce__(self):
        return sys.exit, (3,)


class WithoutText(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Quits(BaseException):
    """Nothing that `except Exception` would catch."""


def _inner(depth: int) -> None:
    if depth:
        _inner(depth - 1)
    raise KeyError("the user's line")


@task_token_guard()
def fail(how: str) -> object:  # noqa: C901, PLR0912 - one branch an example
    """Raise one of the examples."""
    if how == "deep":
        _inner(3)
    if how == "own":
        raise Own(5, detail="more")
    if how == "notes":
        error = Own(6)
        error.add_note("first note")
        error.add_note("second note")
        raise error
    if how == "chained":
        try:
            _inner(0)
        except KeyError as error:
            raise Own(7) from error
    if how == "group":
        raise ExceptionGroup("several", [Own(1), ValueError("two")])
    if how == "will not pickle":
        raise WillNotPickle("a", 1)
    if how == "will not load":
        raise WillNotLoad(1, "text")
    if how == "something else":
        raise LoadsAsSomethingElse("x")
    if how == "stops when loaded":
        raise StopsWhenLoaded("x")
    if how == "without text":
        raise WithoutText
    if how == "surrogate":
        raise ValueError("\ud800")
    if how == "local":
        kind = type("Local", (Exception,), {})
        raise kind("made here")
    if how == "SystemExit":
        sys.exit(4)
    if how == "KeyboardInterrupt":
        raise KeyboardInterrupt
    if how == "GeneratorExit":
        raise GeneratorExit
    if how == "CancelledError":
        raise asyncio.CancelledError
    if how == "StopIteration":
        raise StopIteration(3)
    if how == "Quits":
        raise Quits("enough")
    if how == "RecursionError":
        return fail.__wrapped__(how)
    if how == "MemoryError":
        return bytearray(1 << 62)
    if how == "SyntaxError":
        return compile("a b", "a file", "exec")
    raise AssertionError(how)


def _raised(how: str) -> Exception:
    token = fail(how)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the caller looks at it
        token.get(20)
    assert token.state is TokenState.FAILED
    assert work.square(4).get(20) == 16
    return caught.value


def test_a_users_exception_arrives_as_itself():
    """Type, arguments and attributes are those of the exception that was raised."""
    error = _raised("own")
    assert type(error) is Own
    assert (error.args, error.detail) == ((5,), "more")


def test_notes_arrive():
    """Notes that were added are there."""
    assert _raised("notes").__notes__ == ["first note", "second note"]


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("deep", KeyError),
        ("surrogate", ValueError),
        ("RecursionError", RecursionError),
        ("MemoryError", MemoryError),
        ("SyntaxError", SyntaxError),
        ("group", ExceptionGroup),
        ("chained", Own),
    ],
)
def test_exceptions_of_many_kinds(how, kind):
    """Built-in exceptions, groups and chains arrive as what they are."""
    assert type(_raised(how)) is kind


def test_the_cause_is_the_way_to_the_users_line():
    """The cause shows the frames of the user's code in the core process, and none of ours."""
    error = _raised("deep")
    assert isinstance(error.__cause__, RemoteTraceback)
    text = error.__cause__.text
    assert text.count('raise KeyError("the user\'s line")') == 1
    assert re.search(r"test_exceptions\.py., line \d+, in fail\n", text)
    assert text.count("in _inner") == 4
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith('KeyError: "the user\'s line"\n')
    assert "tokengate_mp" not in text
    printed = "".join(traceback.format_exception(error))
    assert "the user's line" in printed.split("direct cause")[0]


def test_a_chain_is_told_in_the_cause():
    """What an exception was raised from is in the text of its traceback."""
    text = _raised("chained").__cause__.text
    assert "the user's line" in text
    assert "direct cause" in text


def test_a_failed_argument_binding_shows_no_frame_of_ours(coordinator):
    """A call that does not fit its function has no way to show, and shows none."""
    with pytest.raises(TypeError) as caught:
        coordinator.submit(work.square.__wrapped__, 1, 2).get(20)
    assert "tokengate_mp" not in caught.value.__cause__.text


def test_an_error_in_submitted_callables_shows_no_frame_of_ours(coordinator):
    """Bound methods, partials and lambdas too."""
    with pytest.raises(ZeroDivisionError) as caught:
        coordinator.submit(lambda: 1 // 0).get(20)
    assert "tokengate_mp" not in caught.value.__cause__.text
    with pytest.raises(ValueError, match="not in list") as caught:
        coordinator.submit([1].index, 5).get(20)
    assert "tokengate_mp" not in caught.value.__cause__.text


@pytest.mark.parametrize(
    ("how", "name", "message"),
    [
        ("will not pickle", "test_exceptions.WillNotPickle", "('a', 1)"),
        ("will not load", "test_exceptions.WillNotLoad", "1: text"),
        ("something else", "test_exceptions.LoadsAsSomethingElse", "x"),
        ("stops when loaded", "test_exceptions.StopsWhenLoaded", "x"),
        ("SystemExit", "SystemExit", "4"),
        ("KeyboardInterrupt", "KeyboardInterrupt", ""),
        ("GeneratorExit", "GeneratorExit", ""),
        ("CancelledError", "asyncio.exceptions.CancelledError", ""),
        ("StopIteration", "StopIteration", "3"),
        ("Quits", "test_exceptions.Quits", "enough"),
    ],
)
def test_what_cannot_be_raised_here_arrives_as_remote_error(how, name, message):
    """It carries the type's name, the text and the traceback, and harms nothing."""
    error = _raised(how)
    assert type(error) is RemoteError
    assert (error.type_name, error.message) == (name, message)
    assert isinstance(error.__cause__, RemoteTraceback)
    assert error.traceback == error.__cause__.text
    assert "test_exceptions.py" in error.traceback
    assert name in str(error)


def test_an_exception_of_a_class_made_in_the_core():
    """A class that exists only there: its name and text arrive at any rate."""
    error = _raised("local")
    shown = error.type_name if isinstance(error, RemoteError) else type(error).__qualname__
    assert shown.endswith("Local")
    assert "made here" in str(error)


def test_an_exception_whose_text_fails():
    """An exception whose own __str__ raises arrives all the same."""
    error = _raised("without text")
    assert "WithoutText" in (error.type_name if type(error) is RemoteError else repr(error))


def test_errors_among_many(coordinator):
    """Each of many tokens that fail has its own error, and those between their results."""

    async def main():
        tokens = [
            fail("own") if n % 3 == 0 else fail("StopIteration") if n % 3 == 1 else work.square(n)
            for n in range(300)
        ]
        return await asyncio.gather(*tokens, return_exceptions=True)

    results = asyncio.run(main())
    for n, result in enumerate(results):
        expected = [Own, RemoteError, int][n % 3]
        assert type(result) is expected
    assert len({id(result) for result in results[::3]}) == 100


def test_a_function_that_will_not_load_says_the_same_each_time(coordinator, monkeypatch):
    """Each token of a function that the core cannot import raises that, and nothing grows."""
    import types

    module = types.ModuleType("module_of_the_parent_only")
    exec("def f(x):\n    return x", vars(module))  # noqa: S102 - how else is it in no file
    monkeypatch.setitem(sys.modules, module.__name__, module)
    tokens = [coordinator.submit(module.f, n) for n in range(200)]
    texts, lengths = set(), set()
    for token in tokens:
        with pytest.raises(ModuleNotFoundError, match="module_of_the_parent_only") as caught:
            token.get(20)
        texts.add(caught.value.__cause__.text)
        lengths.add(len(caught.value.__cause__.text))
    assert len(texts) == 1
    assert "IndexError" not in texts.pop()
    assert work.square(3).get(20) == 9


def test_decode_errors_of_the_user_are_the_users():
    """An error that our own wire raises too is the user's own when a function raises it."""
    with pytest.raises(msgspec.ValidationError, match="Expected"):
        work.call_decode().get(20)


class Frozen(Exception):
    """Pickles, and lets nobody set anything, as a frozen dataclass with a __reduce__ does."""

    def __setattr__(self, name: str, value: object) -> None:
        raise TypeError(f"{name} cannot be set")


@task_token_guard()
def raise_frozen(code: int) -> None:
    """Raise what cannot be added to."""
    raise Frozen(code)


@pytest.mark.parametrize("retries", [0, 2])
def test_an_exception_that_cannot_be_added_to(retries):
    """It arrives as itself with its cause, the runs before it as its context, and harms nobody."""
    with pytest.raises(Frozen) as caught:
        raise_frozen.options(retries=retries)(7).get()
    assert caught.value.args == (7,)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert isinstance(caught.value.__context__, Frozen) is (retries > 0)
    assert work.square(3).get() == 9


def test_an_exception_that_cannot_be_added_to_in_a_map():
    """It has the place of its item, and the other items have their results."""
    first, second = raise_frozen.map([1, 2], return_exceptions=True)
    assert (first.args, second.args) == ((1,), (2,))
    assert work.square(3).get() == 9
