"""Progress of maps and gathered tokens: what is told, how often, and what goes wrong with it."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys

import pytest
import work

from tokengate_mp import OperationsCoordinator, Progress, gather, task_token_guard
from tokengate_mp.bulk import meter as subject
from tokengate_mp.bulk.bars import RichBar, TqdmBar, chosen_progress
from tokengate_mp.bulk.meter import Meter, total_of


class Recording:
    """A progress that keeps what it is told, and fails where it is asked to."""

    def __init__(self, fails=""):
        self.told = []
        self._fails = fails

    def start(self, total):
        self._tell("start", total)

    def advance(self, count, failed):
        self._tell("advance", count, failed)

    def finish(self):
        self._tell("finish")

    def _tell(self, what, *facts):
        self.told.append((what, *facts))
        if what == self._fails:
            raise LookupError(what)

    def sums(self):
        """What the advances come to."""
        advances = [facts for what, *facts in self.told if what == "advance"]
        return sum(count for count, _ in advances), sum(failed for _, failed in advances)


@task_token_guard(operation_type="no sevens")
def no_sevens(number: int) -> int:
    """Refuse every number that ends in 7."""
    if number % 10 == 7:
        raise ValueError(number)
    return number


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still."""
    now = [100.0]
    monkeypatch.setattr(subject, "monotonic", lambda: now[0])
    return now


# ---- the meter, without processes


def test_a_meter_tells_at_most_so_often(clock):
    """What comes in between is told together, when it is time or at the end."""
    shown = Recording()
    meter = Meter(shown, 10)
    meter.begin_progress()
    for failed in (0, 1, 0):
        meter.count_calls(2, failed)
    clock[0] += 0.05
    meter.tell_if_due()
    assert shown.told == [("start", 10), ("advance", 2, 0)]
    clock[0] += 0.06
    meter.tell_if_due()
    meter.count_calls(4)
    meter.finish_progress()
    meter.finish_progress()
    assert shown.told[2:] == [("advance", 4, 1), ("advance", 4, 0), ("finish",)]


def test_a_meter_keeps_an_error_until_it_is_asked(clock):
    """It tells nothing more then, but the end."""
    shown = Recording(fails="advance")
    meter = Meter(shown, None)
    meter.begin_progress()
    meter.count_calls(1)
    clock[0] += 1
    meter.count_calls(1)
    with pytest.raises(LookupError, match="advance"):
        meter.raise_failure()
    meter.raise_failure()
    meter.finish_progress()
    assert shown.told == [("start", None), ("advance", 1, 0), ("finish",)]


def test_a_meter_without_a_progress_does_nothing(clock):
    """As where nobody asked for one."""
    meter = Meter(None, 3)
    meter.begin_progress()
    meter.count_calls(3)
    meter.tell_if_due()
    meter.raise_failure()
    meter.finish_progress()


@pytest.mark.parametrize(
    ("iterables", "total"),
    [
        (([1, 2, 3],), 3),
        ((range(5), [1, 2]), 2),
        ((iter([1, 2]),), 2),
        (((n for n in range(3)),), None),
        ((range(5), (n for n in range(3))), None),
        ((), None),
    ],
)
def test_the_total_is_told_where_it_is_known(iterables, total):
    """The shortest iterable ends them all; a generator says nothing of its length."""
    assert total_of(iterables) == total


def test_what_can_be_asked_for(monkeypatch):
    """A bar by True or by name, an object of one's own, or nothing."""
    own = Recording()
    assert isinstance(own, Progress)
    assert chosen_progress(own) is own
    assert chosen_progress(None) is None
    assert chosen_progress(False) is None
    pytest.importorskip("rich", reason="rich is not installed")
    assert isinstance(chosen_progress(True), RichBar)
    assert isinstance(chosen_progress("rich"), RichBar)
    for wrong in (1, Recording, [], object()):
        with pytest.raises(TypeError, match=r"start\(total\)"):
            chosen_progress(wrong)
    with pytest.raises(ValueError, match="'rich', 'tqdm', not 'bar'"):
        chosen_progress("bar")


@pytest.mark.parametrize(
    ("wanted", "missing", "words"),
    [
        ("True", "rich tqdm", "'tokengate_mp[progress]'"),
        ("'rich'", "rich", "'tokengate_mp[rich]'"),
        ("'tqdm'", "tqdm", "'tokengate_mp[tqdm]'"),
    ],
)
def test_what_is_missing_is_named(wanted, missing, words):
    """The error says what to install, and comes before anything is sent."""
    code = f"""
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name in {missing.split()} else find(name)
from tokengate_mp.bulk.bars import chosen_progress
try: chosen_progress({wanted})
except ImportError as error: print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert words in done.stdout


# ---- maps


@pytest.fixture
def coordinator():
    """A coordinator with a loop of its own."""
    with OperationsCoordinator(cores=2) as coordinator:
        yield coordinator


def test_a_map_tells_its_progress(coordinator):
    """Every item is counted once, those that failed too, and not each by itself."""
    shown = Recording()
    results = no_sevens.map(range(5000), progress=shown, return_exceptions=True)
    assert shown.told == []
    assert len(list(results)) == 5000
    assert shown.told[0] == ("start", 5000)
    assert shown.told[-1] == ("finish",)
    assert shown.sums() == (5000, 500)
    assert len(shown.told) < 100
    plain = Recording()
    assert list(coordinator.map(abs, (n for n in range(9)), progress=plain)) == list(range(9))
    assert plain.told[0] == ("start", None)
    assert plain.sums() == (9, 0)


def test_a_map_tells_its_progress_in_a_loop():
    """Whether it is gone through or awaited."""

    async def main():
        async with OperationsCoordinator(cores=2):
            awaited, iterated = Recording(), Recording()
            assert len(await work.square.map(range(3000), progress=awaited)) == 3000
            squares = work.square.map(range(3000), progress=iterated)
            assert len([n async for n in squares]) == 3000
            assert awaited.sums() == iterated.sums() == (3000, 0)
            assert awaited.told[-1] == iterated.told[-1] == ("finish",)

    asyncio.run(main())


def test_an_item_that_fails_ends_the_progress(coordinator):
    """It is counted, and the progress is told that it is over."""
    shown = Recording()
    with pytest.raises(ValueError, match="7"):
        list(no_sevens.map(range(100), progress=shown))
    assert shown.told[-1] == ("finish",)
    assert shown.sums()[1] >= 1


@pytest.mark.parametrize("fails", ["start", "advance", "finish"])
def test_a_progress_that_fails_reaches_who_takes_results(coordinator, fails):
    """Its error is raised there, after the results that were there, and the coordinator goes on."""
    shown, seen = Recording(fails), []
    with pytest.raises(LookupError, match=fails):
        seen.extend(work.square.map(range(1000), progress=shown))
    assert seen == [n * n for n in range(len(seen))]
    assert len(seen) >= sum(count for what, count, *_ in shown.told[1:-1] if what == "advance")
    assert list(work.square.map(range(10))) == [n * n for n in range(10)]


# ---- gathered tokens


def test_gather_gives_what_asyncio_gives():
    """Results in order, errors in their places if asked for, and the progress of all."""

    async def main():
        async with OperationsCoordinator(cores=2):
            shown = Recording()
            assert await gather(progress=shown) == []
            assert await gather(*map(work.square, range(5))) == [0, 1, 4, 9, 16]
            assert shown.told == [("start", 0), ("finish",)]
            shown = Recording()
            tokens = [no_sevens(n) for n in range(1000)]
            results = await gather(*tokens, *tokens, progress=shown, return_exceptions=True)
            assert [r for r in results if isinstance(r, int)] == [
                n for n in range(1000) if n % 10 != 7
            ] * 2
            assert shown.told[0] == ("start", 1000)
            assert shown.sums() == (1000, 100)
            assert shown.told[-1] == ("finish",)

    asyncio.run(main())


def test_gather_raises_what_comes_first_and_loses_no_token():
    """Of a token or of the progress; the tokens go on, and have their results."""

    async def main():
        async with OperationsCoordinator(cores=2):
            shown = Recording()
            tokens = [no_sevens(n) for n in range(100)]
            with pytest.raises(ValueError, match="7"):
                await gather(*tokens, progress=shown)
            assert shown.told[-1] == ("finish",)
            assert len(await gather(*tokens, return_exceptions=True)) == 100
            for fails in ("start", "advance", "finish"):
                tokens = [work.square(n) for n in range(100)]
                with pytest.raises(LookupError, match=fails):
                    await gather(*tokens, progress=Recording(fails))
                assert await gather(*tokens) == [n * n for n in range(100)]

    asyncio.run(main())


def test_cancelling_gather_cancels_its_tokens():
    """As by asyncio's own; and the progress is told that it is over."""

    async def main():
        async with OperationsCoordinator(cores=1):
            shown = Recording()
            tokens = [work.nap(30) for _ in range(3)]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(gather(*tokens, progress=shown), 0.1)
            assert all(token.cancelled() for token in tokens)
            assert shown.told == [("start", 3), ("finish",)]

    asyncio.run(main())


# ---- bars


def test_rich_draws_a_bar(monkeypatch):
    """On standard error, with the counts and the failures."""
    pytest.importorskip("rich", reason="rich is not installed")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    bar = RichBar()
    bar.start(10)
    bar.advance(3, 0)
    bar.advance(7, 2)
    bar.finish()
    assert "10/10" in sys.stderr.getvalue()
    assert "2 failed" in sys.stderr.getvalue()


def test_tqdm_draws_a_bar(monkeypatch):
    """The same."""
    tqdm = pytest.importorskip("tqdm", reason="tqdm is not installed")
    monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 0)  # a thread that lasts
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    bar = TqdmBar()
    bar.start(10)
    bar.advance(3, 0)
    bar.advance(7, 2)
    bar.finish()
    assert "10/10" in sys.stderr.getvalue()
    assert "failed=2" in sys.stderr.getvalue()
