"""Which core a token lands on, by weight class and routing, with real core processes."""

from __future__ import annotations

import asyncio

import pytest
import work
from cores import all_up
from gates import Gate

from tokengate_mp import OperationsCoordinator

ALLOWED = {
    1: {"heavy": {1}, "medium": {1}, "light": {1}},
    2: {"heavy": {1, 2}, "medium": {2}, "light": {2}},
    4: {"heavy": {1, 2, 3, 4}, "medium": {2, 3, 4}, "light": {3, 4}},
}


@pytest.fixture
def gate():
    """A gate that lets everybody pass in the end."""
    with Gate() as gate:
        yield gate


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_strict_routing_keeps_to_the_ranges(gate, cores):
    """HEAVY on all cores, MEDIUM from core 2, LIGHT from core 3, each as far as there are cores."""

    async def main():
        async with OperationsCoordinator(cores=cores, threads_per_core=1, routing="strict") as c:
            await all_up(c, gate)
            tokens = [
                work.spin.options(operation_type=weight, weight=weight)(0.0005)
                for _ in range(60)
                for weight in ALLOWED[cores]
            ]
            await asyncio.gather(*tokens)
            # Bursts of one class alone do not leave its range either.
            for weight in ALLOWED[cores]:
                lone = [work.nap.options(weight=weight)(0.001) for _ in range(20)]
                await asyncio.gather(*lone)
                tokens += lone
        used = {weight: set() for weight in ALLOWED[cores]}
        for token in tokens:
            used[token.weight].add(token.core)
        for weight, allowed in ALLOWED[cores].items():
            assert used[weight] <= allowed, weight
        assert set().union(*used.values()) == set(range(1, cores + 1))

    asyncio.run(main())


@pytest.mark.parametrize("routing", ["strict", "work_conserving"])
def test_lone_tokens_go_to_the_front_of_their_class(gate, routing):
    """With all cores idle, heavy goes to core 1, medium to core 2, and light to the last core."""

    async def main():
        async with OperationsCoordinator(cores=4, threads_per_core=1, routing=routing) as c:
            await all_up(c, gate)
            for weight, expected in (("heavy", 1), ("light", 4), ("medium", 2)) * 2:
                token = work.echo.options(weight=weight)(0)
                await token
                assert token.core == expected

    asyncio.run(main())


def test_a_class_fills_its_range_from_its_front(gate):
    """Heavy tokens that last spread from core 1 upwards, light ones from the last downwards."""

    async def main():
        async with OperationsCoordinator(cores=4, threads_per_core=1, routing="strict") as c:
            await all_up(c, gate)
            for weight, expected in (("heavy", [1, 2, 3, 4]), ("light", [4, 3])):
                gated = work.gated.options(operation_type=f"filling {weight}", weight=weight)
                tokens = [gated(gate.address) for _ in expected]
                await asyncio.to_thread(gate.arrivals, len(expected))
                assert [token.core for token in tokens] == expected
                gate.open()
                await asyncio.gather(*tokens)

    asyncio.run(main())


@pytest.mark.parametrize("weight", ["light", "medium", "heavy"])
def test_work_conserving_routing_borrows(gate, weight):
    """No core idles while any class waits: tokens of one class run on every core at once."""

    async def main():
        async with OperationsCoordinator(cores=2, threads_per_core=1) as coordinator:
            tokens = [work.gated.options(weight=weight)(gate.address) for _ in range(2)]
            arrivals = await asyncio.to_thread(gate.arrivals, 2)
            assert {arrival.pid for arrival in arrivals} == {
                core["pid"] for core in coordinator.get_stats()["cores"]
            }
            gate.open()
            await asyncio.gather(*tokens)
            assert {token.core for token in tokens} == {1, 2}

    asyncio.run(main())


@pytest.mark.parametrize(("borrower", "owner"), [("light", "heavy"), ("medium", "heavy")])
def test_a_borrowed_core_gives_way_to_its_own_class(gate, borrower, owner):
    """A core that ran something borrowed begins its own class next, though the other came first."""

    async def main():
        async with OperationsCoordinator(cores=2, threads_per_core=1) as coordinator:
            await all_up(coordinator, gate)
            borrowing = work.gated.options(operation_type="borrowing", weight=borrower)
            owning = work.gated.options(operation_type="owning", weight=owner)
            nap = work.nap.options(operation_type="borrowing", weight=borrower)
            # Long ones: so a core is sent one at a time, and the others wait in their lanes.
            await asyncio.gather(
                nap(0.05), work.nap.options(operation_type="owning", weight=owner)(0.05)
            )
            running = [borrowing(gate.address, name) for name in ("first", "second")]
            await asyncio.to_thread(gate.arrivals, 2)
            borrowed = next(token for token in running if token.core == 1)
            waiting = [borrowing(gate.address, f"waits {n}") for n in range(3)]
            own = owning(gate.address, "own")
            await asyncio.sleep(0)
            gate.open("first" if borrowed is running[0] else "second")
            assert await asyncio.to_thread(gate.names) == ["own"]
            assert own.core == 1
            gate.close()
            await asyncio.gather(*running, *waiting, own)

    asyncio.run(main())


def test_classes_on_one_core_take_turns(gate):
    """Classes that share a core get their share of it: none waits for all tokens of another."""

    async def main():
        async with OperationsCoordinator(cores=1, threads_per_core=1) as coordinator:
            await all_up(coordinator, gate)
            weights = ["heavy", "medium", "light"]
            spin = {w: work.spin.options(operation_type=w, weight=w) for w in weights}
            await asyncio.gather(*(spin[w](0.002) for w in weights))
            tokens = {w: [spin[w](0.002) for _ in range(40)] for w in weights}
            await asyncio.gather(*(token for each in tokens.values() for token in each))
        last = {w: max(token.timing.finished for token in tokens[w]) for w in weights}
        first = {w: min(token.timing.started for token in tokens[w]) for w in weights}
        for one in weights:
            for other in weights:
                assert first[one] < last[other]

    asyncio.run(main())


def test_more_cores_than_cpus():
    """More core domains than CPUs work, and all of them are used."""

    async def main():
        async with OperationsCoordinator(cores=5, threads_per_core=1) as coordinator:
            with Gate() as gate:
                await all_up(coordinator, gate)
            tokens = [work.nap(0.001) for _ in range(100)]
            await asyncio.gather(*tokens)
            assert {token.core for token in tokens} == {1, 2, 3, 4, 5}
            assert len({core["pid"] for core in coordinator.get_stats()["cores"]}) == 5

    asyncio.run(main())
