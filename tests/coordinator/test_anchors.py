"""Sticky anchors, with real core processes."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
import work
from cores import all_up
from gates import Gate

from tokengate_mp import OperationsCoordinator, WorkerLost

KEYS = (101, 202, 303, 404)

anchored = work.gated.options(operation_type="storm_anchor", sticky_anchor="storm_token")
kept = work.echo.options(sticky_anchor="model", sticky_for=600)


@pytest.fixture
def gate():
    """A gate that lets everybody pass in the end."""
    with Gate() as gate:
        yield gate


def pins(coordinator):
    """The live count of pins."""
    return coordinator.get_stats()["sticky"]["pins"]


@pytest.mark.parametrize("cores", [2, 4, 16])
def test_cache_storm(run, gate, cores):
    """Four keys and then six waves of them, all in flight at once: no key is on two cores."""

    async def main():
        async with OperationsCoordinator(cores=cores, threads_per_core=8) as coordinator:
            await all_up(coordinator, gate)
            tokens = {key: [anchored(gate.address, str(key))] for key in KEYS}
            await asyncio.to_thread(gate.arrivals, len(KEYS))
            assert pins(coordinator) == len(KEYS)
            for _ in range(6):
                for key in KEYS:
                    tokens[key].append(anchored(gate.address, str(key)))
                await asyncio.sleep(0)
            assert pins(coordinator) == len(KEYS)
            gate.close()
            for key, own in tokens.items():
                assert await asyncio.gather(*own) == [str(key)] * 7
                assert len({token.core for token in own}) == 1
            assert len({own[0].core for own in tokens.values()}) > 1
            assert pins(coordinator) == 0

    run(main)


def test_every_end_releases_once(run, gate):
    """Completed, failed, killed and cancelled, waiting or running: no pin is left."""

    async def main():
        async with OperationsCoordinator(cores=1, threads_per_core=1) as coordinator:
            holder = work.gated(gate.address)
            await asyncio.to_thread(gate.arrivals)
            wrong = work.square.options(sticky_anchor="a")("no number")
            killed = [anchored(gate.address, "k") for _ in range(3)]
            cancelled = anchored(gate.address, "c")
            good = kept.options(sticky_for=0)([1, 2])
            await asyncio.sleep(0)
            assert killed[0].kill("enough")
            assert cancelled.cancel()
            assert killed[2].kill("enough")
            gate.close()
            ends = await asyncio.gather(
                holder, wrong, *killed, cancelled, good, return_exceptions=True
            )
            assert [type(end).__name__ for end in ends] == [
                "str",
                "TypeError",
                "TokenKilled",
                "str",
                "TokenKilled",
                "CancelledError",
                "list",
            ]
            assert pins(coordinator) == 0

    run(main)


def test_a_pin_outlives_the_process_of_its_core(run, gate):
    """The tokens of a key that wait when its core dies are run by the process that replaces it."""

    async def main():
        async with OperationsCoordinator(cores=4, threads_per_core=1) as coordinator:
            tokens = [anchored(gate.address, "k") for _ in range(20)]
            (arrival,) = await asyncio.to_thread(gate.arrivals)
            os.kill(arrival.pid, signal.SIGKILL)
            gate.close()
            ends = await asyncio.gather(*tokens, return_exceptions=True)
            assert sum(isinstance(end, WorkerLost) for end in ends) == 1
            assert ends.count("k") == 19
            assert len({token.core for token in tokens}) == 1
            assert pins(coordinator) == 0

    run(main)


@pytest.mark.parametrize("value", [7, {"a": [1]}, "long" * 100, {3, 1, 2}])
def test_a_kept_pin_is_found_by_a_later_token(run, value):
    """Long after the last token of a key, the next one runs where that did."""

    async def main():
        async with OperationsCoordinator(cores=3) as coordinator:
            first = kept(value=value)
            assert await first == value
            assert pins(coordinator) == 1
            for _ in range(10):
                await asyncio.gather(*(work.echo(n) for n in range(20)))
                again = kept(value=value)
                await again
                assert again.core == first.core
            assert pins(coordinator) == 1

    run(main)


def test_functions_share_an_anchor(run, gate):
    """The key is the anchor and the arguments, whichever function is called."""

    async def main():
        async with OperationsCoordinator(cores=4):
            one = anchored(gate.address, "k")
            await asyncio.to_thread(gate.arrivals)
            other = work.spinning.options(sticky_anchor="storm_token", weight="heavy")
            two = other(gate.address, "k")
            gate.close()
            await asyncio.gather(one, two, return_exceptions=True)
            assert one.core == two.core

    run(main)
