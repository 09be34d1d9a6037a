"""Large values that go on: from token to token inside cores, and past recycled processes."""

from __future__ import annotations

import asyncio
import gc

import arrays
import numpy as np
import pytest

from tokengate_mp import OperationsCoordinator

MIB = 1 << 20
NOTHING = {"arguments": 0, "results": 0}


def settled(coordinator) -> dict[str, int]:
    """How much shared memory is in use, once every core has said what it has let go."""
    for _ in range(3):
        for _core in coordinator.get_stats()["cores"]:
            arrays.forget().get(20)
    gc.collect()
    stats = coordinator.get_stats()["shared_memory"]
    return {name: stats[name] for name in NOTHING}


@pytest.mark.parametrize("lead", [arrays.through_children, arrays.through_members])
@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("limit", [0, 64 * MIB])
def test_values_go_on_inside_cores(lead, cores, limit):
    """Exact, though nobody refers to their tokens any more; writable where that was asked for."""
    count, rounds = 50_000, 5
    with OperationsCoordinator(cores=cores, max_shared_bytes=limit) as coordinator:
        array = np.full(count, 3.0)
        expected = [6.0 * count, 2.0 * count, *[1.0 * count, 2.0 * count, 1.0 * count] * rounds]
        assert lead(array, rounds).get(60) == expected
        del array
        assert settled(coordinator) == NOTHING


def test_a_function_is_writable_in_its_callers_context():
    """Both options hold beside each other, and in copies of the function."""
    both = arrays.doubled.options(context=True)
    assert both.token_options.writable
    assert both.options(weight="heavy").token_options.writable
    assert both.options(weight="heavy").token_options.context
    with OperationsCoordinator(cores=1, max_shared_bytes=64 * MIB):
        assert both(np.ones(100_000)).get(20).sum() == 200_000


@pytest.mark.parametrize("threads", [1, 2])
def test_payloads_pass_recycled_processes_by(threads):
    """Arguments and results are exact over many recyclings, and in the end all memory is free."""

    def recycled(coordinator):
        return sum(core["recycled"] for core in coordinator.get_stats()["cores"])

    async def main(coordinator):
        results = []
        turn = 0
        while recycled(coordinator) < 6:
            array = np.full(20_000, float(turn))
            made = await asyncio.gather(*(arrays.as_it_is(array) for _ in range(4)))
            assert all(result[0] == result[-1] == turn for result in made)
            if turn % 8 == 0:
                results.append((turn, made[0]))
            turn += 1
        for turn, result in results:
            assert result[0] == result[-1] == turn
        # What processes wrote that have left is still there; the next ones had room beside it.
        assert coordinator.get_stats()["shared_memory"]["results"] > 0

    with OperationsCoordinator(
        cores=2, threads_per_core=threads, max_tokens_per_core=15, max_shared_bytes=64 * MIB
    ) as coordinator:
        asyncio.run(main(coordinator))
        assert settled(coordinator) == NOTHING
