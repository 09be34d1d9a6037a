"""Tokens: what they say of themselves, all ways to await them, and all ways to end them early."""

from __future__ import annotations

import asyncio
import re
import time
from itertools import pairwise

import pytest
import work
from gates import Gate

from tokengate_mp import (
    OperationsCoordinator,
    Token,
    TokenKilled,
    TokenState,
    lifecycle,
    task_token_guard,
)


class Seen(Exception):
    """The example of an exception that a token raises."""


@task_token_guard(operation_type="fails")
def fails(value: int) -> None:
    """Raise."""
    raise Seen(value)


# ---- what they say


def test_attributes(run):
    """Id, operation, weight, seed, core and status of a token, before and after."""

    async def main():
        async with OperationsCoordinator(cores=2) as coordinator:
            coordinator.pause_admission()  # a core may be up already, and get it within the call
            token = work.square.options(weight="heavy")(3)
            assert isinstance(token, Token)
            assert isinstance(token, asyncio.Future)
            assert token.operation_type == "square"
            assert token.weight == "heavy"
            assert token.seed is None
            assert token.core is None
            assert token.timing.admitted is token.timing.started is token.timing.finished is None
            coordinator.resume_admission()
            assert await token == 9
            assert token.state is TokenState.COMPLETED
            assert token.core in {1, 2}
            status = token.get_status()
            assert status["token_id"] == token.token_id
            assert status["state"] == "completed"
            assert (status["core"], status["created"]) == (token.core, token.timing.created)
            assert re.search(rf"{token.token_id} square COMPLETED", repr(token))
            return token

    token = run(main)
    assert token.state is TokenState.COMPLETED  # and it stays readable after the end
    assert token.result() == 9


def test_ids_are_unique(run):
    """No two tokens have the same id, whichever coordinator or loop they are of."""

    async def main():
        async with OperationsCoordinator(cores=1):
            tokens = [work.echo(n) for n in range(1000)]
            await asyncio.gather(*tokens)
            return [token.token_id for token in tokens]

    ids = run(main) + run(main)
    assert all(isinstance(each, str) for each in ids)
    assert len(set(ids)) == 2000


def test_times_are_in_order_and_of_one_clock(run):
    """Created ≤ admitted ≤ started ≤ finished, and all between this process's own readings."""

    async def main():
        async with OperationsCoordinator(cores=2):
            before = time.monotonic_ns()
            tokens = [work.echo(n) for n in range(3000)]
            tokens += [work.nap(0.002) for _ in range(10)]
            await asyncio.gather(*tokens)
            after = time.monotonic_ns()
        for token in tokens:
            created, admitted, started, finished = token.timing
            assert before <= created <= admitted <= started <= finished <= after
        assert all(t.timing.finished - t.timing.started >= 2_000_000 for t in tokens[3000:])

    run(main)


def passed_through(before, after):
    """The shortest way forward in the table: between two looks a token may take several steps.

    None leads back to WAITING here: with one core, nothing is taken back, and nothing fails.
    """
    ways = [[before]]
    for way in ways:
        if way[-1] is after:
            return way[1:]
        onward = lifecycle.TRANSITIONS[way[-1]]
        if way[-1] is not TokenState.CREATED:
            onward -= {TokenState.WAITING}
        ways += [[*way, state] for state in onward if state not in way]
    pytest.fail(f"there is no way from {before.name} to {after.name}")


def test_states_follow_the_table(run):
    """The states that a token is seen in, from CREATED to COMPLETED, are a way in the table."""

    async def main(gate):
        seen = {}

        def look(tokens):
            for token in tokens:
                way = seen.setdefault(token, [TokenState.CREATED])
                if token.state is not way[-1]:
                    way += passed_through(way[-1], token.state)

        async with OperationsCoordinator(cores=1, threads_per_core=1):
            tokens = [work.gated(gate.address, str(n)) for n in range(10)]
            look(tokens)
            for _ in tokens:
                arrival = asyncio.ensure_future(asyncio.to_thread(gate.names))
                while not arrival.done():
                    look(tokens)
                    await asyncio.sleep(0)
                name = arrival.result()[0]
                assert tokens[int(name)].state is TokenState.EXECUTING
                look(tokens)
                gate.open()
            while not all(token.done() for token in tokens):
                look(tokens)
                await asyncio.sleep(0)
            look(tokens)
        s = TokenState
        for way in seen.values():
            assert all(lifecycle.allowed(a, b) for a, b in pairwise(way))
            assert (way[0], way[-2:]) == (s.CREATED, [s.EXECUTING, s.COMPLETED])

    with Gate() as gate:
        run(main, gate)


def test_a_failure_is_failed(run):
    """A token whose function raised is FAILED, and raises that."""

    async def main():
        async with OperationsCoordinator(cores=1):
            token = fails(3)
            with pytest.raises(Seen) as caught:
                await token
            assert caught.value.args == (3,)
            assert token.state is TokenState.FAILED
            assert token.exception() is caught.value
            created, admitted, started, finished = token.timing
            assert created <= admitted <= started <= finished

    run(main)


# ---- awaiting


def test_awaitable_any_number_of_times(run):
    """A token gives the same result, or error, however often and by however many it is awaited."""

    async def main():
        async with OperationsCoordinator(cores=1):
            token, failing = work.square(4), fails(1)

            async def other():
                return await token

            waiting = [asyncio.create_task(other()) for _ in range(5)]
            assert [await token, await token] == [16, 16]
            assert await asyncio.gather(*waiting, token, token) == [16] * 7
            for _ in range(3):
                with pytest.raises(Seen):
                    await failing

    run(main)


def test_gather(run):
    """gather() keeps the order of the calls, and gives exceptions where they are asked for."""

    async def main():
        async with OperationsCoordinator(cores=2):
            tokens = [fails(n) if n % 10 == 5 else work.square(n) for n in range(500)]
            results = await asyncio.gather(*tokens, return_exceptions=True)
        for n, result in enumerate(results):
            if n % 10 == 5:
                assert (type(result), result.args) == (Seen, (n,))
            else:
                assert result == n * n

    run(main)


def test_gather_of_nothing_that_fails_first(run):
    """A plain gather() raises the first error; the other tokens go on."""

    async def main(gate):
        async with OperationsCoordinator(cores=1):
            token = work.gated(gate.address, "late")
            await asyncio.to_thread(gate.arrivals)
            with pytest.raises(Seen):
                await asyncio.gather(token, fails(1))
            gate.open()
            assert await token == "late"

    with Gate() as gate:
        run(main, gate)


def test_wait(run):
    """wait() tells done from pending."""

    async def main(gate):
        async with OperationsCoordinator(cores=1):
            held = work.gated(gate.address, "held")
            tokens = [work.square(n) for n in range(10)]
            await asyncio.to_thread(gate.arrivals)
            done, pending = await asyncio.wait([held, *tokens], return_when="FIRST_COMPLETED")
            assert done
            assert held in pending
            done, pending = await asyncio.wait([held, *tokens[:5]], timeout=0)
            assert held in pending
            await asyncio.wait(tokens)
            gate.open()
            done, pending = await asyncio.wait([held, *tokens])
            assert (len(done), pending) == (11, set())

    with Gate() as gate:
        run(main, gate)


def test_wait_for_and_timeout(run):
    """wait_for() and timeout() that run out cancel the token, and harm no other."""

    async def main(gate):
        async with OperationsCoordinator(cores=1):
            assert await asyncio.wait_for(work.square(2), 20) == 4
            one, two, shielded = (work.gated(gate.address, name) for name in "abc")
            await asyncio.to_thread(gate.arrivals, 3)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(one, 0.01)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await two
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(shielded), 0.01)
            assert one.cancelled()
            assert two.cancelled()
            assert {one.state, two.state} == {TokenState.KILLED}
            assert shielded.state is TokenState.EXECUTING
            assert await work.square(3) == 9
            gate.open()
            assert await shielded == "c"

    with Gate() as gate:
        run(main, gate)


def test_as_completed(run):
    """as_completed() gives every result, as they come."""

    async def main(gate):
        async with OperationsCoordinator(cores=1):
            tokens = [work.gated(gate.address, name) for name in "abc"]
            await asyncio.to_thread(gate.arrivals, 3)
            order = []
            gate.open("b")
            for next_one in asyncio.as_completed(tokens):
                order.append(await next_one)
                gate.open("c" if len(order) == 1 else "a")
            return order

    with Gate() as gate:
        assert run(main, gate) == ["b", "c", "a"]


def test_task_group(run):
    """Tokens awaited in a TaskGroup's tasks; one that fails ends the others."""

    async def awaited(token):
        return await token

    async def main(gate):
        async with OperationsCoordinator(cores=1):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(awaited(work.square(n))) for n in range(50)]
            assert [task.result() for task in tasks] == [n * n for n in range(50)]
            held = work.gated(gate.address)
            await asyncio.to_thread(gate.arrivals)
            with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - raised on leaving it
                async with asyncio.TaskGroup() as group:
                    group.create_task(awaited(held))
                    group.create_task(awaited(fails(7)))
            assert [type(error) for error in caught.value.exceptions] == [Seen]
            assert held.cancelled()

    with Gate() as gate:
        run(main, gate)


def test_done_callbacks(run):
    """A done callback is called once, with the token, from the loop."""

    async def main():
        called = []
        async with OperationsCoordinator(cores=1):
            token = work.square(3)
            token.add_done_callback(called.append)
            assert await token == 9
            await asyncio.sleep(0)
            assert called == [token]

    run(main)


def test_a_token_that_nobody_awaits_is_logged_as_any_future(run):
    """An exception that nobody looks at is reported by asyncio; a kill by request is not."""

    async def main():
        async with OperationsCoordinator(cores=1):
            work.nap(30).kill("no longer wanted")
            reported = []
            loop = asyncio.get_running_loop()
            before = loop.get_exception_handler()
            loop.set_exception_handler(lambda _loop, context: reported.append(context))
            fails(1)
            await asyncio.gather(fails(2), return_exceptions=True)
            await work.square(1)
            loop.set_exception_handler(before)
            return reported

    assert [context["exception"].args for context in run(main)] == [(1,)]


def test_a_wave_asks_little_of_the_loop(run, monkeypatch):
    """The loop of a token is the one that it was made in, and has no callback for each."""

    async def main():
        async with OperationsCoordinator(cores=2):
            loop = asyncio.get_running_loop()
            loop.set_debug(False)
            tokens = [work.square(n) for n in range(5000)]
            assert {token.get_loop() for token in tokens} == {loop}
            called = []
            for token in tokens:
                token.add_done_callback(called.append)
            handles = []
            call_soon = loop.call_soon
            with monkeypatch.context() as patch:
                if type(loop).__module__.startswith("asyncio"):  # the other kind is not Python
                    patch.setattr(
                        loop, "call_soon", lambda *a, **k: handles.append(a) or call_soon(*a, **k)
                    )
                assert await asyncio.gather(*tokens) == [n * n for n in range(5000)]
            assert len(called) == 5000
            assert set(called) == set(tokens)
            assert len(handles) < 2500

    run(main)


# ---- ending early


@pytest.mark.parametrize("how", ["kill", "cancel"])
def test_ending_a_token_that_waits(run, how):
    """It ends at once as KILLED, is never begun, and the tokens around it are right."""

    async def main(gate):
        async with OperationsCoordinator(cores=1, threads_per_core=1) as coordinator:
            held = work.gated(gate.address, "held")
            await asyncio.to_thread(gate.arrivals)
            tokens = [work.gated(gate.address, str(n)) for n in range(20)]
            await asyncio.sleep(0)
            assert {token.state for token in tokens[10:]} == {TokenState.WAITING}
            for token in tokens[10::2]:
                assert getattr(token, how)() is True
                assert token.state is TokenState.KILLED
                assert token.done()
                assert getattr(token, how)() is False
            assert coordinator.get_stats()["tokens"]["killed"] == 5
            gate.close()
            assert await held == "held"
            left = [*range(10), *range(11, 20, 2)]
            assert await asyncio.gather(*(tokens[n] for n in left)) == [str(n) for n in left]
            for token in tokens[10::2]:
                with pytest.raises(TokenKilled if how == "kill" else asyncio.CancelledError):
                    await token
                assert token.timing.started is None

    with Gate() as gate:
        run(main, gate)


@pytest.mark.parametrize("how", ["kill", "cancel"])
def test_ending_a_token_that_runs(run, how):
    """Who awaits it is told at once; when its run is over the core serves others as before."""

    async def main(gate):
        async with OperationsCoordinator(cores=1, threads_per_core=1) as coordinator:
            token = work.gated(gate.address, "run")
            behind = work.square(5)
            await asyncio.to_thread(gate.arrivals)
            assert token.state is TokenState.EXECUTING
            waiting = asyncio.ensure_future(asyncio.wait([token]))
            assert getattr(token, how)() is True
            await waiting
            assert token.state is TokenState.KILLED
            gate.open()
            assert await behind == 25
            assert token.state is TokenState.KILLED
            counts = coordinator.get_stats()["tokens"]
            assert (counts["killed"], counts["completed"]) == (1, 1)

    with Gate() as gate:
        run(main, gate)


def test_kill_tells_who_and_why(run):
    """TokenKilled carries the token's id and the reason; an ended token cannot be killed."""

    async def main():
        async with OperationsCoordinator(cores=1):
            token = work.nap(30)
            assert token.kill("too late")
            with pytest.raises(TokenKilled, match="too late") as caught:
                await token
            assert caught.value.token_id == token.token_id
            assert caught.value.reason == "too late"
            done = work.square(3)
            await done
            assert done.kill("no") is False
            assert done.cancel() is False
            assert (done.state, done.result()) == (TokenState.COMPLETED, 9)

    run(main)


def test_killed_before_it_was_taken_in(run):
    """Tokens of a burst can be killed right after their calls, before the loop has run."""

    async def main():
        async with OperationsCoordinator(cores=1):
            tokens = [work.echo(n) for n in range(1000)]
            for token in tokens[1::2]:
                assert token.kill("not you")
            results = await asyncio.gather(*tokens, return_exceptions=True)
            assert results[::2] == list(range(0, 1000, 2))
            assert {type(result) for result in results[1::2]} == {TokenKilled}

    run(main)


def test_cancelling_a_task_cancels_its_token(run):
    """Cancellation goes through an await to the token, as to any future."""

    async def main(gate):
        async with OperationsCoordinator(cores=1):
            token = work.gated(gate.address)
            await asyncio.to_thread(gate.arrivals)

            async def wait():
                await token

            task = asyncio.create_task(wait())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert token.cancelled()
            assert token.state is TokenState.KILLED

    with Gate() as gate:
        run(main, gate)


def test_ending_tokens_at_random_while_they_finish(run):
    """However kills and cancellations meet results, every token ends in what it says, once."""

    async def main():
        async with OperationsCoordinator(cores=2) as coordinator:
            tokens = []
            for turn in range(200):
                tokens += [work.echo(n) for n in range(10)]
                if turn % 3 == 0:
                    await asyncio.sleep(0)
                tokens[turn * 7 % len(tokens)].kill("kill")
                tokens[turn * 5 % len(tokens)].cancel()
            results = await asyncio.gather(*tokens, return_exceptions=True)
            counts = coordinator.get_stats()["tokens"]
        states = [token.state for token in tokens]
        for n, (token, result) in enumerate(zip(tokens, results, strict=True)):
            if token.state is TokenState.COMPLETED:
                assert result == n % 10
            else:
                assert isinstance(result, (TokenKilled, asyncio.CancelledError))
        assert counts["completed"] == states.count(TokenState.COMPLETED)
        assert counts["killed"] == states.count(TokenState.KILLED)
        assert sum(counts.values()) == len(tokens)

    run(main)
