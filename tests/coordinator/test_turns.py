"""The event loop is never held: what one callback does is bounded, whatever the backlog."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace

import pytest
import work

from tokengate_mp import OperationsCoordinator
from tokengate_mp.engine import engine
from tokengate_mp.engine.inbound import receiver
from tokengate_mp.engine.inbound.settlement import Settlement
from tokengate_mp.loops.timers import LOST_NS

BACKLOG = 30_000
CORES = 2


@pytest.fixture
def callbacks(monkeypatch):
    """Count, for each callback of ours in the loop, the portions that it settles."""
    portions = Counter()
    current = {"callback": 0}
    settle = Settlement.settle

    def counted_settle(*arguments):
        portions[current["callback"]] += 1
        settle(*arguments)

    def counted(callback):
        def count(*args):
            current["callback"] += 1
            callback(*args)

        return count

    monkeypatch.setattr(Settlement, "settle", counted_settle)
    for name in ("turn_in_loop", "look_around", "heard"):
        callback = getattr(engine.Engine, name)
        monkeypatch.setattr(engine.Engine, name, counted(callback))
    return portions


def test_a_turn_ends_when_its_time_is_up(monkeypatch, callbacks):
    """With no time at all, a turn settles one portion of each core, and asks for another turn."""
    monkeypatch.setattr(engine, "TURN_NS", -1)

    async def main():
        beats = 0

        async def beat():
            nonlocal beats
            while True:
                await asyncio.sleep(0)
                beats += 1

        async with OperationsCoordinator(cores=CORES):
            beating = asyncio.create_task(beat())
            tokens = [work.echo(n) for n in range(BACKLOG)]
            made = beats
            assert await asyncio.gather(*tokens) == list(range(BACKLOG))
            beating.cancel()
        return made, beats

    made, beats = asyncio.run(main())
    callbacks.pop(0, None)
    assert max(callbacks.values()) <= CORES
    # Other tasks ran between the turns, and none while the calls were being made.
    assert made == 0
    # A turn, two looks around (each has its alarm), and a look at all for every core that rang.
    in_one_round = CORES + 2 * CORES + CORES * CORES
    rounds = beats + 2  # those in which the beating begins and is cancelled
    assert rounds * in_one_round >= callbacks.total()


def test_results_are_loaded_for_as_long_as_a_turn_may_take(monkeypatch):
    """With no time at all, one in each portion; and all of them in the end."""
    monkeypatch.setattr(engine, "TURN_NS", -1)
    portions, settle = [], Settlement.settle

    def counted_settle(self, peer, portion, deadline):
        settle(self, peer, portion, deadline)
        portions.append(len(portion.outcomes) - len(peer.unsettled))

    monkeypatch.setattr(Settlement, "settle", counted_settle)

    async def main():
        async with OperationsCoordinator(cores=CORES):
            return await asyncio.gather(*[work.echo((n,)) for n in range(1000)])

    assert asyncio.run(main()) == [(n,) for n in range(1000)]
    assert portions == [1] * 1000


def test_a_turn_looks_at_the_clock_after_each_portion(monkeypatch, callbacks):
    """By a clock on which each look takes a quarter of a turn, a turn is a few portions."""
    ticks = iter(range(0, 10**15, engine.TURN_NS // 4))
    for module in (engine, receiver):
        monkeypatch.setattr(module, "monotonic_ns", lambda: next(ticks))

    async def main():
        async with OperationsCoordinator(cores=CORES):
            tokens = [work.echo(n) for n in range(BACKLOG)]
            assert await asyncio.gather(*tokens) == list(range(BACKLOG))

    asyncio.run(main())
    callbacks.pop(0, None)
    assert max(callbacks.values()) <= 5 + CORES


def test_a_core_is_sent_a_bounded_number_of_tokens():
    """However many wait, a core holds no more than its window: the rest can still be ended."""

    async def main():
        held = []
        async with OperationsCoordinator(cores=CORES) as coordinator:
            await work.echo(0)
            tokens = [work.echo(n) for n in range(BACKLOG)]
            while not all(token.done() for token in tokens[-100:]):
                stats = coordinator.get_stats()
                held += [core["queued"] + core["executing"] for core in stats["cores"]]
                await asyncio.sleep(0)
            await asyncio.gather(*tokens)
        assert max(held) <= 4096

    asyncio.run(main())


def test_sending_never_waits_for_room(monkeypatch):
    """What a full ring cannot take waits in the parent; the loop goes on meanwhile."""

    async def main():
        async with OperationsCoordinator(cores=1, ring_bytes=1 << 12) as coordinator:
            payload = bytes(1_000_000)
            tokens = [work.echo(payload) for _ in range(10)]
            for _ in range(3):
                await asyncio.sleep(0)
            assert sum(coordinator.get_stats()["tokens"].values()) == 10
            assert await asyncio.gather(*tokens) == [payload] * 10

    asyncio.run(main())


def test_bursts_are_taken_in_on_the_way():
    """In a burst of calls tokens are sent, and settled, before the loop runs again."""

    async def main():
        async with OperationsCoordinator(cores=1):
            await work.echo(0)
            tokens = []
            # It would go on for ever if only the loop could take them in.
            while not any(token.done() for token in tokens[:1000]):
                tokens.append(work.echo(len(tokens)))
            assert await asyncio.gather(*tokens) == list(range(len(tokens)))

    asyncio.run(main())


def test_ctrl_c_while_a_core_is_heard(monkeypatch):
    """Turns are asked for afterwards as before: nobody waits for one that was not taken."""
    loop = asyncio.new_event_loop()

    async def started():
        return OperationsCoordinator(cores=1).start()

    coordinator = loop.run_until_complete(started())
    engine = coordinator._run.engine
    try:

        async def square(number):
            return await asyncio.wait_for(work.square(number), 20)

        assert loop.run_until_complete(square(2)) == 4
        asked = []

        def interrupted(*_args):
            asked.append(engine._turns.due)
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(receiver.Receiver, "receive", interrupted)
            link = next(iter(engine._backend.links.values()))
            with pytest.raises(KeyboardInterrupt):
                engine.heard(link)
        assert asked == [True]
        assert not engine._turns.due
        assert loop.run_until_complete(square(3)) == 9
    finally:
        loop.run_until_complete(_stopped(coordinator))
        loop.close()


@pytest.mark.parametrize("timer", ["timer kept", "timer lost"])
def test_a_turn_that_ctrl_c_has_lost_is_taken_later(monkeypatch, timer):
    """Ctrl-C may come when the loop has taken the handle of a turn, and not come to the turn."""

    async def main():
        async with OperationsCoordinator(cores=1) as coordinator:
            engine = coordinator._run.engine
            with monkeypatch.context() as patched:
                patched.setattr(engine._host, "loop", SimpleNamespace(call_soon=bool))
                assert await work.square(1) == 1
                assert engine._turns.due
            if timer == "timer lost":
                engine._patience._handle.cancel()
                engine._patience._due -= 10 * LOST_NS
            tokens = [work.square(number) for number in range(1, 9)]
            results = await asyncio.wait_for(asyncio.gather(*tokens), 20)
            assert results == [number**2 for number in range(1, 9)]

    asyncio.run(main())


def test_ctrl_c_while_a_turn_is_asked_for(monkeypatch):
    """The next one who wants a turn asks anew."""

    async def main():
        async with OperationsCoordinator(cores=1) as coordinator:
            engine = coordinator._run.engine
            assert await work.square(1) == 1
            engine._turns.due = False

            def interrupted(_callback):
                raise KeyboardInterrupt

            with monkeypatch.context() as patched:
                patched.setattr(
                    engine._host, "loop", SimpleNamespace(call_soon=interrupted, is_closed=bool)
                )
                with pytest.raises(KeyboardInterrupt):
                    engine.request_turn()
                patched.setattr(engine._host, "post", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    engine._turns.request_turn_threadsafe()
            assert not engine._turns.due

    asyncio.run(main())


async def _stopped(coordinator):
    coordinator.stop()
