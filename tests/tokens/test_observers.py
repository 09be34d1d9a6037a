"""Observers of tokens: what they raise reaches no turn."""

from __future__ import annotations

import asyncio

import pytest
import work

from tokengate_mp import OperationsCoordinator, as_completed
from tokengate_mp.tokens import observers
from tokengate_mp.tokens.observers import add_observer, remove_observer, tell_observers


class Noting:
    """An observer that notes what it is told, and may raise."""

    def __init__(self, error=None):
        self.told = []
        self.error = error

    def tokens_ended(self, tokens):
        self.told.append(list(tokens))
        if self.error is not None:
            raise self.error


@pytest.fixture(autouse=True)
def removed():
    """Leave no observer behind."""
    yield
    left = list(observers.observers)
    observers.observers.clear()
    assert left == []


def test_observers_are_told_until_they_are_removed():
    """Removing one that was removed is nothing."""
    first, second = Noting(), Noting()
    add_observer(first)
    add_observer(second)
    tell_observers(("a",))
    remove_observer(first)
    remove_observer(first)
    tell_observers(("b", "c"))
    remove_observer(second)
    assert first.told == [["a"]]
    assert second.told == [["a"], ["b", "c"]]


@pytest.mark.parametrize("error", [ValueError("a"), SystemExit(3), asyncio.CancelledError()])
def test_one_that_raises_is_removed_and_logged(error, caplog):
    """The others are told all the same."""
    raising, other = Noting(error), Noting()
    add_observer(raising)
    add_observer(other)
    tell_observers(("a",))
    tell_observers(("b",))
    remove_observer(other)
    assert raising.told == [["a"]]
    assert other.told == [["a"], ["b"]]
    (record,) = caplog.records
    assert type(error).__name__ in record.getMessage()
    assert "Noting" in record.getMessage()


def test_ctrl_c_in_an_observer_is_ctrl_c():
    """It goes on to whoever runs the loop, and the observer stays."""
    observer = Noting(KeyboardInterrupt())
    add_observer(observer)
    with pytest.raises(KeyboardInterrupt):
        tell_observers(("a",))
    assert observers.observers == [observer]
    remove_observer(observer)


def test_an_observer_that_raises_ends_no_token(caplog):
    """Every way a token ends: the coordinator goes on, and other observers learn of all."""

    async def main():
        async with OperationsCoordinator(cores=1):
            for end in ("return", "raise", "cancel"):
                raising = Noting(ValueError(end))
                add_observer(raising)
                tokens = [work.square(n) for n in range(500)]
                if end == "raise":
                    tokens.append(work.square("a"))
                if end == "cancel":
                    tokens.append(work.nap(30))
                    tokens[-1].cancel()
                ended = [token async for token in as_completed(tokens)]
                assert sum(not t.cancelled() and t.exception() is not None for t in ended) <= 1
                assert len(ended) == len(tokens)
                assert len(raising.told) == 1
            assert await work.square(3) == 9

    asyncio.run(main())
    assert len(caplog.records) == 3
