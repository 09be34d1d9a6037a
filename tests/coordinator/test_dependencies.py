"""Tokens as arguments, with real core processes."""

from __future__ import annotations

import asyncio
import pickle
import signal
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import work
from cores import all_up
from gates import Gate
from hypothesis import given, settings
from hypothesis import strategies as st

from tokengate_mp import (
    CoordinatorNotRunning,
    DependencyFailed,
    OperationsCoordinator,
    PayloadError,
    TokenKilled,
    TokenState,
    TokenTimeout,
    WorkerLost,
    task_token_guard,
    this_process,
)


class OnlyInCores:
    """Pickles anywhere, and can be loaded in no process but a core's."""

    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        return only_in_cores, (self.number,)


def only_in_cores(number):
    """Load one of them."""
    if this_process.core is None:
        raise OSError("not here")
    return OnlyInCores(number)


@dataclass
class Box:
    content: Any


@task_token_guard(operation_type="add")
def add(*numbers):
    """Give the sum."""
    return sum(numbers)


@task_token_guard(operation_type="total")
def total(numbers):
    """Give the sum of a list."""
    return sum(numbers)


@task_token_guard(operation_type="boxed")
def boxed(box: Box):
    """Give what is in a box, in a box in a list."""
    return [Box(box.content)]


@task_token_guard(operation_type="secret")
def secret(number):
    """Give something that cannot be loaded in the parent."""
    return OnlyInCores(number)


@task_token_guard(operation_type="tell")
def tell(kept):
    """Give its number."""
    return kept.number


@task_token_guard(operation_type="fail")
def fail(*_args):
    """Raise."""
    raise LookupError("not there")


@task_token_guard(operation_type="same")
def same(one, other):
    """Whether both are one object."""
    return one is other


@pytest.fixture
def gate():
    """A gate that lets everybody pass in the end."""
    with Gate() as gate:
        yield gate


# ---- values


def test_a_token_anywhere_in_the_arguments(run):
    """Lists, tuples, dicts, objects, keywords, at any depth: the function sees the value there."""

    async def main():
        async with OperationsCoordinator(cores=2):
            three, word, row = add(1, 2), work.echo("x"), work.echo([1, (2,)])
            assert await work.echo(three) == 3
            assert await add(three, 4, three) == 10
            assert await work.echo(value=row) == [1, (2,)]
            deep = {"a": [three, (word, {"b": row})], "c": Box([row])}
            assert await work.echo(deep) == {
                "a": [3, ("x", {"b": [1, (2,)]})],
                "c": Box([[1, (2,)]]),
            }
            assert await boxed(Box(boxed(Box(three)))) == [Box([Box(3)])]
            assert await same(row, row)
            assert await same(value := work.echo([1]), value)
            assert [await three, await word, await row] == [3, "x", [1, (2,)]]

    run(main)


@pytest.mark.parametrize(
    "value", [2**70, "\ud800", True, None, -0.0, b"x", {1}, np.arange(3), Box, 1 + 2j]
)
def test_types_are_kept(run, value):
    """What comes out at the far end of a chain is what went in, before and after it has ended."""

    async def main():
        async with OperationsCoordinator(cores=2):
            first = work.echo(value)
            late = await work.echo(work.echo(first))
            again = await work.echo(first)
            for got in (late, again, await first):
                assert type(got) is type(value)
                assert np.array_equal(got, value)

    run(main)


PLANS = st.lists(
    st.tuples(
        st.sampled_from(["add", "total", "nested"]),
        st.lists(st.integers(0, 200), max_size=4),
        st.integers(-5, 5),
    ),
    min_size=1,
    max_size=40,
)


def test_graphs_give_what_a_loop_gives():
    """Random graphs of tokens, some of which have ended when used, equal the plain loop."""
    with OperationsCoordinator(cores=2) as coordinator:

        @settings(max_examples=25, deadline=None)
        @given(plan=PLANS, early=st.sets(st.integers(0, 40), max_size=4))
        def check(plan, early):
            tokens, values = [], []
            for number, (kind, uses, constant) in enumerate(plan):
                chosen = [use % len(tokens) for use in uses] if tokens else []
                needs, known = [tokens[at] for at in chosen], [values[at] for at in chosen]
                if kind == "add":
                    tokens.append(add(constant, *needs))
                elif kind == "total":
                    tokens.append(total([constant, *needs]))
                else:
                    tokens.append(work.echo({"sum": [constant, total(needs)]}))
                    tokens[-1] = coordinator.submit(sum_in, tokens[-1])
                values.append(constant + sum(known))
                if number in early:
                    assert tokens[-1].get(20) == values[-1]
            assert [token.get(20) for token in tokens] == values

        check()


def sum_in(nested):
    """Add up what is in the list of a dict."""
    return sum(nested["sum"])


def test_a_value_that_the_parent_cannot_load(run):
    """It goes from core to core as it came; only who awaits it here gets the error."""

    async def main():
        async with OperationsCoordinator(cores=2):
            kept = secret(7)
            assert await tell(kept) == 7
            assert kept.state is TokenState.COMPLETED
            assert await tell(kept) == 7
            with pytest.raises(PayloadError, match="cannot be loaded here"):
                await kept
            assert kept.state is TokenState.COMPLETED

    run(main)


@pytest.mark.parametrize(
    "look",
    [
        asyncio.gather,
        lambda token: asyncio.wait_for(token, 20),
        lambda token: asyncio.wait([token]),
        asyncio.shield,
        lambda token: next(iter(asyncio.as_completed([token]))),
        lambda token: asyncio.to_thread(token.get, 20),
    ],
)
def test_a_value_that_was_left_encoded_can_be_looked_at_in_every_way(run, look):
    """A token whose value went on to others is as good to await as any."""

    async def main():
        async with OperationsCoordinator(cores=2):
            row = work.echo([1, 2])
            assert await total(row) == 3
            assert not row.cancel()
            await look(row)
            assert row.done()
            assert not row.cancelled()
            assert row.result() == [1, 2]
            other = work.echo([3])
            assert await total(other) == 3
            assert other.exception() is None

    run(main)


def test_a_value_that_is_awaited_and_needed(run, gate):
    """Who awaits a token gets its value, though others need it too."""

    async def main():
        async with OperationsCoordinator(cores=1):
            row = work.echo([work.gated(gate.address, "in")])
            later = total_of_names(row)
            waiting = asyncio.ensure_future(row)
            assert waiting is row
            task = asyncio.create_task(asyncio.wait_for(row, 20))
            await asyncio.to_thread(gate.arrivals)
            gate.open()
            assert await task == ["in"]
            assert await later == 2

    run(main)


@task_token_guard(operation_type="names")
def total_of_names(names):
    """Give how many letters there are."""
    return sum(map(len, names))


def test_big_values(run):
    """Values larger than the ring, in scalars, bytes and arrays, go on to several tokens."""

    async def main():
        async with OperationsCoordinator(cores=2, ring_bytes=1 << 16):
            text, array = work.echo("x" * 10**6), work.echo(np.arange(10**6))
            ends = [work.echo([text, array]) for _ in range(4)]
            for end in ends:
                same_text, same_array = await end
                assert same_text == "x" * 10**6
                assert same_array.sum() == np.arange(10**6).sum()
            assert await work.echo(text) == "x" * 10**6

    run(main)


def test_a_fan_in_of_ten_thousand(run):
    """One token may need thousands."""

    async def main():
        async with OperationsCoordinator(cores=2) as coordinator:
            squares = [work.square(n) for n in range(10_000)]
            assert await total(squares) == sum(n * n for n in range(10_000))
            assert await add(*squares[:100]) == sum(n * n for n in range(100))
            assert coordinator.get_stats()["tokens"]["completed"] == 10_002

    run(main)


def test_they_go_where_their_largest_argument_was_made(run):
    """Of a call with values from several cores the largest one decides, while cores are free."""

    async def main():
        async with OperationsCoordinator(cores=2):
            for _ in range(20):
                large, small = work.filled(200_000), work.filled(5_000)
                token = work.sizes(small, large)
                assert await token == (5_000, 200_000)
                assert token.core == large.core

    run(main)


def test_a_chain_of_a_thousand(run, gate):
    """However long a chain is, its end has a value, or the error or kill of its beginning."""

    async def main():
        async with OperationsCoordinator(cores=2):
            for begin in (work.square(1), fail(1), work.square(1)):
                token = begin
                for _ in range(1000):
                    token = add(token, 1)
                if begin.operation_type == "fail":
                    with pytest.raises(DependencyFailed, match="LookupError: not there") as caught:
                        await token
                    assert isinstance(caught.value.__cause__, LookupError)
                    assert len(caught.value.chain) + caught.value.omitted == 1000
                    assert "984 more" in str(caught.value)
                else:
                    assert await token == 1001
            token = first = work.gated(gate.address)
            chain = [token := add(token, 1) for _ in range(1000)]
            first.kill("enough")
            ends = await asyncio.gather(*chain, return_exceptions=True)
            assert {type(end) for end in ends} == {TokenKilled}
            assert f"token {first.token_id}, which was killed: enough" in str(ends[-1])

    run(main)


# ---- ends


def test_a_failure_fails_what_needs_it(run):
    """The error names its way, and has the first error as its cause; others are not touched."""

    async def main():
        async with OperationsCoordinator(cores=2) as coordinator:
            bad, good = fail(), work.square(3)
            middle = add(good, bad)
            end = work.echo([middle])
            sound = add(good, 1)
            for token, chain in ((middle, [bad]), (end, [bad, middle])):
                with pytest.raises(DependencyFailed) as caught:
                    await token
                names = tuple(f"{each.token_id} ({each.operation_type})" for each in chain)
                assert caught.value.chain == names
                assert isinstance(caught.value.__cause__, LookupError)
                assert caught.value.token_id == token.token_id
                assert token.state is TokenState.FAILED
                again = pickle.loads(pickle.dumps(caught.value))
                assert str(again) == str(caught.value)
            with pytest.raises(DependencyFailed):
                await add(bad, 1)  # it failed long ago
            assert await sound == 10
            with pytest.raises(LookupError):
                await bad
            assert coordinator.get_stats()["tokens"]["failed"] == 4

    run(main)


def test_a_lost_core_fails_what_needs_its_tokens(run):
    """WorkerLost is a failure like any other."""

    async def main():
        async with OperationsCoordinator(cores=2):
            lost = work.die(signal.SIGKILL)
            with pytest.raises(DependencyFailed) as caught:
                await work.echo([lost])
            assert isinstance(caught.value.__cause__, WorkerLost)
            with pytest.raises(WorkerLost):
                await lost

    run(main)


@pytest.mark.parametrize("cancel", [True, False])
def test_a_kill_kills_what_needs_it(run, gate, cancel):
    """At once, by name, and on through those that need these; the same if it was cancelled."""

    async def main():
        async with OperationsCoordinator(cores=2) as coordinator:
            held = work.gated(gate.address)
            near, other = work.echo([held]), add(1, 2)
            far = add(near, other)
            await asyncio.to_thread(gate.arrivals)
            assert near.state is TokenState.WAITING
            assert held.cancel() if cancel else held.kill("enough")
            for token in (near, far):
                with pytest.raises(TokenKilled, match="which was") as caught:
                    await token
                assert caught.value.token_id == token.token_id
                assert held.token_id in caught.value.reason
                assert token.state is TokenState.KILLED
            with pytest.raises(TokenKilled):
                await add(held, 1)
            assert await other == 3
            gate.open()
            await coordinator.join()

    run(main)


def test_what_waits_for_others_can_be_killed(run, gate):
    """It ends at once, and what it waits for goes on, with or without it."""

    async def main():
        async with OperationsCoordinator(cores=2) as coordinator:
            held = work.gated(gate.address, "x")
            tokens = [work.echo([held]) for _ in range(3)]
            await asyncio.to_thread(gate.arrivals)
            assert coordinator.get_stats()["tokens"]["waiting"] == 3
            assert tokens[0].kill("enough")
            assert tokens[1].cancel()
            unborn = work.echo([held])
            unborn.kill("at once")
            assert coordinator.get_stats()["tokens"]["waiting"] == 1
            gate.open()
            assert await held == "x"
            assert await tokens[2] == ["x"]
            assert not coordinator._run.engine._dispatch._pending_calls.needed
            assert not coordinator._run.engine._dispatch._pending_calls.arriving
            with pytest.raises(TokenKilled, match="at once"):
                await unborn
            with pytest.raises(TokenKilled, match="enough"):
                await tokens[0]

    run(main)


def test_stop_ends_what_waits_for_others(run, gate):
    """After stop() none is pending."""

    async def main():
        with OperationsCoordinator(cores=1):
            held = work.gated(gate.address)
            waiting = [work.echo([held]), add(held)]
            await asyncio.to_thread(gate.arrivals)
        for token in [held, *waiting]:
            with pytest.raises(TokenKilled, match="stopped"):
                await token

    run(main)


def test_time_limits_hold_for_what_waits_for_others(run, gate):
    """A token that is withheld runs out of time as any; what needs one that did fails with it."""

    async def main():
        async with OperationsCoordinator(cores=1) as coordinator:
            held = work.gated(gate.address, "x")
            short = work.echo.options(timeout=0.05)([held])
            after = work.echo([short])
            with pytest.raises(TokenTimeout):
                await short
            with pytest.raises(DependencyFailed) as caught:
                await after
            assert isinstance(caught.value.__cause__, TokenTimeout)
            await asyncio.to_thread(gate.arrivals)
            gate.open()
            assert await held == "x"
            await coordinator.join()

    run(main)


def test_what_needs_others_is_run_again(run):
    """A dependent that fails is retried with the same values; a need that is retried is awaited."""

    async def main():
        async with OperationsCoordinator(cores=2):
            needed = at_third.options(retries=3)([1])
            token = at_third.options(retries=3)([needed])
            assert await token == [[1]]
            assert await needed == [1]

    run(main)


_runs: list[Any] = []


@task_token_guard(operation_type="third", sticky_anchor="third")
def at_third(value):
    """Succeed when this process does it for the third time."""
    _runs.append(value)
    if len(_runs) % 3:
        raise LookupError("not yet")
    return value


def test_controls_reach_what_waits_for_others(run, gate):
    """Paused it stays until it is resumed; drained it is killed, as all that waits."""

    async def main():
        async with OperationsCoordinator(cores=1) as coordinator:
            coordinator.pause_operation("add")
            paused = add(work.square(2), 1)
            assert await work.echo([work.square(3)]) == [9]
            assert paused.state is TokenState.WAITING
            coordinator.resume_operation("add")
            assert await paused == 5
            held = work.gated(gate.address)
            await asyncio.to_thread(gate.arrivals)
            waiting = [work.echo([held]), add(held)]
            assert coordinator.drain_pool() == 2
            for token in waiting:
                with pytest.raises(TokenKilled):
                    await token
            gate.open()
            await held

    run(main)


def test_large_values_count_as_pending_while_they_are(run):
    """What admission counts of a call with large values is given back when it ends."""

    async def main():
        async with OperationsCoordinator(cores=2) as coordinator:
            big = work.echo(b"x" * 10**6)
            ends = [work.echo([big, b"y" * 10**6]) for _ in range(3)]
            await asyncio.gather(*ends)
            assert coordinator._run.engine.admission.large == 0

    run(main)


# ---- where calls come from


def test_a_token_of_a_stopped_coordinator(run):
    """It is refused at the call, which names the argument, completed or not."""

    async def main():
        async with OperationsCoordinator(cores=1):
            old = [work.square(2), work.echo([1])]
            assert await total(old[1]) == 1
        with pytest.raises(CoordinatorNotRunning):
            work.echo(old[0])
        async with OperationsCoordinator(cores=1):
            for token in old:
                for argument in (token, [token]):
                    with pytest.raises(PayloadError, match=r"argument 1 .*was stopped"):
                        work.echo(argument)
            assert await work.echo(await old[0]) == 4

    run(main)


def test_a_token_pickled_otherwise():
    """Outside a call there is nobody who would fill in its value."""
    with OperationsCoordinator(cores=1):
        token = work.square(2)
        with pytest.raises(TypeError, match="only as an argument of a call"):
            pickle.dumps(token)
        assert token.get(20) == 4


def test_arguments_are_a_snapshot_though_they_wait(run, gate):
    """What the caller does to the rest of the arguments after the call changes nothing."""

    async def main():
        async with OperationsCoordinator(cores=2):
            rest = [work.gated(gate.address, "x"), "before"]
            token = work.echo(rest)
            rest[1] = "after"
            gate.close()
            assert await token == ["x", "before"]

    run(main)


def test_tokens_of_other_threads():
    """Tokens made in threads, with loops of their own or without, can be each other's arguments."""
    with OperationsCoordinator(cores=2):
        shared = [work.square(3), work.echo([1])]
        results = []

        async def in_a_loop():
            own = work.echo([shared[0], work.square(2)])
            results.append(await total(own))
            results.append(await total(own))
            results.append(await work.echo({"k": own}))
            results.append(await own)

        def without_a_loop():
            results.append(total([add(*shared[:1]), shared[0], 1]).get(20))
            results.append(total(shared[1]).get(20))

        threads = [
            threading.Thread(target=lambda: asyncio.run(in_a_loop())),
            threading.Thread(target=without_a_loop),
        ]
        for thread in threads:
            thread.start()
            thread.join()
        assert results == [13, 13, {"k": [9, 4]}, [9, 4], 19, 1]
        assert shared[1].get(20) == [1]


def test_a_key_is_made_of_the_values(run, gate):
    """Anchored calls whose tokens have equal values share a core, and so with plain values."""

    async def main():
        async with OperationsCoordinator(cores=4, threads_per_core=1) as coordinator:
            await all_up(coordinator, gate)
            stay = anchored.options(sticky_for=600)
            first = stay(add(2, 3))
            assert await first == 5
            for argument in (5, add(1, 4), add(5)):
                await asyncio.gather(*(work.echo(n) for n in range(9)))
                token = stay(argument)
                await token
                assert token.core == first.core
            assert coordinator.get_stats()["sticky"]["pins"] == 1
            nested = [stay([add(1, 4)]) for _ in range(3)]
            await asyncio.gather(*nested)
            assert len({token.core for token in nested}) == 1
            assert coordinator.get_stats()["sticky"]["pins"] == 2

    run(main)


anchored = work.echo.options(sticky_anchor="a")


def test_layers_take_no_longer_than_twice_the_tokens():
    """A graph of layers, each of which needs the one before, keeps a rate of the same order."""
    with OperationsCoordinator(cores=2):
        add(1).get(20)

        def run_layers(*, linked):
            begin = time.perf_counter()
            layer = [work.square(n % 7) for n in range(2000)]
            for _ in range(3):
                layer = [
                    add(layer[n], layer[n - 1]) if linked else add(n, n - 1) for n in range(2000)
                ]
            total([layer[0], 1] if linked else [0, 1]).get(30)
            last = [token.get(30) for token in layer]
            return time.perf_counter() - begin, last

        plain, _ = min(run_layers(linked=False) for _ in range(2))
        linked, values = min(run_layers(linked=True) for _ in range(2))
        assert linked < plain * 6  # two at the target; the machine has other work
        expected = [n % 7 for n in range(2000)]
        expected = [n * n for n in expected]
        for _ in range(3):
            expected = [expected[n] + expected[n - 1] for n in range(2000)]
        assert values == expected
