"""get_stats(): its shape, and that its counts add up at every moment."""

from __future__ import annotations

import asyncio
import json
import os

import pytest
import work
from gates import Gate

from tokengate_mp import OperationsCoordinator, TokenState

CORE_KEYS = {"core", "pid", "cpu", "alive", "queued", "executing", "completed", "restarts"}


def _adds_up(stats, made):
    """Whether each token is counted once, and the cores' counts are those of the tokens."""
    tokens, cores = stats["tokens"], stats["cores"]
    assert set(tokens) == {state.value for state in TokenState}
    assert min(tokens.values()) >= 0
    assert sum(tokens.values()) == made
    assert tokens["executing"] == sum(core["executing"] for core in cores)
    assert tokens["admitted"] <= sum(core["queued"] for core in cores)
    operations = stats["operations"].values()
    for end in ("completed", "failed", "killed"):
        assert sum(operation["counts"][end] for operation in operations) == tokens[end]
    return stats


def test_shape(run):
    """A plain dict with the cores in order, a count per state, and the operations."""

    async def main():
        async with OperationsCoordinator(cores=2) as coordinator:
            tokens = [work.square(n) for n in range(100)]
            tokens += [work.echo.options(weight="heavy")(n) for n in range(50)]
            await asyncio.gather(*tokens)
            stats = _adds_up(coordinator.get_stats(), 150)
        assert json.loads(json.dumps(stats)) == stats
        assert [core["core"] for core in stats["cores"]] == [1, 2]
        for core in stats["cores"]:
            assert set(core) >= CORE_KEYS
            assert core["pid"] not in {None, os.getpid()}
            assert core["cpu"] == coordinator.settings.cpus[core["core"] - 1]
            assert (core["queued"], core["executing"], core["restarts"]) == (0, 0, 0)
        assert any(core["alive"] for core in stats["cores"])
        assert sum(core["completed"] for core in stats["cores"]) == 150
        assert stats["tokens"]["completed"] == 150
        assert set(stats["operations"]) == {"square", "echo"}
        square, echo = stats["operations"]["square"], stats["operations"]["echo"]
        assert (square["weight"], echo["weight"]) == ("medium", "heavy")
        assert square["counts"]["completed"] == 100
        assert square["paused"] is False
        durations = square["durations"]
        assert 0 <= durations["p50"] <= durations["p95"] <= durations["max"]
        assert stats["conductor"]["domains"] == 0
        assert stats["sticky"]["pins"] == 0

    run(main)


def test_a_new_coordinator_has_counted_nothing():
    """All counts are zero at the start, and no operation is known."""
    with OperationsCoordinator(cores=3) as coordinator:
        stats = _adds_up(coordinator.get_stats(), 0)
        assert len(stats["cores"]) == 3
        assert stats["operations"] == {}


def test_counts_add_up_while_it_runs(run):
    """At every look each token is in exactly one state, killed and failed ones included."""

    async def main():
        made = 0
        async with OperationsCoordinator(cores=2) as coordinator:
            tokens = []
            for turn in range(60):
                batch = [work.echo(n) for n in range(20)] + [work.nap(0.001)]
                batch.append(coordinator.submit(int, "no number"))
                made += len(batch)
                batch[turn % 20].kill("no")
                batch[(turn + 7) % 20].cancel()
                _adds_up(coordinator.get_stats(), made)
                await asyncio.sleep(0)
                _adds_up(coordinator.get_stats(), made)
                tokens += batch
            pending = set(tokens)
            while pending:
                _, pending = await asyncio.wait(pending, return_when="FIRST_COMPLETED")
                _adds_up(coordinator.get_stats(), made)
            counts = coordinator.get_stats()["tokens"]
        states = [token.state for token in tokens]
        assert counts == {state.value: states.count(state) for state in TokenState}
        assert counts["failed"] == 60
        for token in tokens:
            if token.exception is not None and not token.cancelled():
                token.exception()

    run(main)


def test_what_runs_is_executing_and_what_it_holds_is_queued():
    """A core says how many of its tokens run, and how many it was sent and has not begun."""
    with Gate() as gate, OperationsCoordinator(cores=1, threads_per_core=2) as coordinator:
        tokens = [work.gated(gate.address) for _ in range(30)]
        gate.arrivals(2)
        stats = _adds_up(coordinator.get_stats(), 30)
        assert stats["tokens"]["executing"] == 2
        assert stats["tokens"]["waiting"] + stats["tokens"]["admitted"] == 28
        assert stats["cores"][0]["alive"]
        assert stats["cores"][0]["queued"] == stats["tokens"]["admitted"]
        assert [token.state for token in tokens].count(TokenState.EXECUTING) == 2
        gate.close()


def test_a_token_is_counted_once_while_its_function_still_runs():
    """One that was killed and has not stopped yet is killed, and not executing besides."""
    with Gate() as gate, OperationsCoordinator(cores=1, threads_per_core=2) as coordinator:
        tokens = [work.gated(gate.address) for _ in range(2)]
        gate.arrivals(2)
        assert tokens[0].kill()
        stats = coordinator.get_stats()
        assert sum(stats["tokens"].values()) == 2
        assert (stats["tokens"]["killed"], stats["tokens"]["executing"]) == (1, 1)
        assert stats["cores"][0]["executing"] == 2
        gate.close()


def test_after_stop_nothing_lives(run):
    """After stop() no core is alive, holds anything or has a pid, and the counts remain."""

    async def main():
        coordinator = OperationsCoordinator(cores=2).start()
        await asyncio.gather(*(work.square(n) for n in range(10)))
        left = [work.nap(30) for _ in range(10)]
        coordinator.stop()
        assert {token.state for token in left} == {TokenState.KILLED}
        stats = _adds_up(coordinator.get_stats(), 20)
        for core in stats["cores"]:
            assert not core["alive"]
            assert (core["pid"], core["queued"], core["executing"]) == (None, 0, 0)
        assert (stats["tokens"]["completed"], stats["tokens"]["killed"]) == (10, 10)

    run(main)


def test_from_any_thread(run):
    """get_stats() may be asked for in another thread than the loop's."""

    async def main():
        async with OperationsCoordinator(cores=1) as coordinator:
            await asyncio.gather(*(work.square(n) for n in range(10)))
            stats = await asyncio.to_thread(coordinator.get_stats)
            assert stats["tokens"]["completed"] == 10

    run(main)


@pytest.mark.parametrize("weight", ["light", "medium", "heavy"])
def test_an_operation_called_with_two_weights_is_one_operation(weight):
    """Counts go by operation_type, whatever weight its calls have."""
    with OperationsCoordinator(cores=1) as coordinator:
        assert work.square.options(weight=weight)(2).get(20) == 4
        assert work.square.options(weight="light")(3).get(20) == 9
        assert coordinator.get_stats()["operations"]["square"]["counts"]["completed"] == 2
