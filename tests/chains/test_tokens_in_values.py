"""Tokens in the values of tokens that are arguments of further ones."""

from __future__ import annotations

import asyncio
import gc
import threading

import gates
import handing_on
import pytest

from tokengate_mp import DependencyFailed, OperationsCoordinator, PayloadError

FORMS = [handing_on.adds, handing_on.hands_on, handing_on.tenfold_of_each]


async def outcome_of(function, token):
    """What comes of a function that gets a token's value, in the end."""
    given = await function(token)
    return given if isinstance(given, int) else sum(await asyncio.gather(*given))


def expected_of(function):
    """What should."""
    return 300 if function is handing_on.tenfold_of_each else 30


def restarts(coordinator):
    """How many core processes were replaced."""
    return sum(core["restarts"] for core in coordinator.get_stats()["cores"])


def remains(coordinator):
    """What the parent still knows of tokens that were made inside tokens."""
    engine = coordinator._run.engine

    def look():
        gc.collect()
        peers = engine._receiver._peers.values()
        kept = sum(len(each.kept) + len(each.link.leases.requests) for each in peers)
        return kept + len(engine._nested_tokens._known)

    return coordinator._run.host.call(look)


@pytest.mark.parametrize("function", FORMS, ids=lambda each: each.operation_type)
@pytest.mark.parametrize("max_shared_bytes", [0, 1 << 24])
async def test_they_are_known_to_the_dependant(function, max_shared_bytes):
    """Nobody has looked at the value: its tokens are there for the dependent, and for who does."""
    async with OperationsCoordinator(cores=2, max_shared_bytes=max_shared_bytes) as coordinator:
        with gates.Gate() as gate:
            token = handing_on.makes(4, gate.address)
            dependent = asyncio.ensure_future(outcome_of(function, token))
            await asyncio.to_thread(gate.arrivals, 1)
            gate.open()
            expected = 2 * expected_of(function)
            assert await dependent == expected
        assert sum(await asyncio.gather(*await token)) == 60
        assert restarts(coordinator) == 0


async def test_they_are_known_after_the_token_is_forgotten():
    """The dependent alone refers to the value, and begins long after the token has ended."""
    async with OperationsCoordinator(cores=1, threads_per_core=1) as coordinator:
        coordinator.pause_operation("adds")
        with gates.Gate() as gate:
            dependents = [handing_on.adds(handing_on.makes(3, gate.address))]
            await asyncio.to_thread(gate.arrivals, 1)
            gate.open()
        for number in range(20):
            assert await handing_on.tenfold(number) == number * 10
        coordinator.resume_operation("adds")
        assert await dependents.pop() == 30
        await coordinator.join()


async def test_they_are_known_though_the_value_was_loaded_first():
    """Who awaits the token has it loaded before it gets to the dependent."""
    async with OperationsCoordinator(cores=2):
        with gates.Gate() as gate:
            token = handing_on.makes(3, gate.address)
            both = asyncio.gather(token, handing_on.adds(token))
            await asyncio.to_thread(gate.arrivals, 1)
            gate.open()
            made, added = await both
        assert sum(await asyncio.gather(*made)) == added == 30


def test_they_are_known_to_a_token_of_another_thread():
    """A token of another thread's loop, and its dependent, find them as well."""

    async def main():
        with gates.Gate() as gate:
            token = handing_on.makes(3, gate.address)
            dependent = handing_on.adds(token)
            await asyncio.to_thread(gate.arrivals, 1)
            gate.open()
            return await dependent, [await each for each in await token]

    found = []
    with OperationsCoordinator(cores=2):
        visitor = threading.Thread(target=lambda: found.append(asyncio.run(main())))
        visitor.start()
        visitor.join(40)
    assert found == [(30, [0, 10, 20])]


@pytest.mark.parametrize("lead", [False, True])
def test_they_are_known_when_a_token_passes_on_an_ended_one(lead):
    """A call inside a token takes the value with it, and what that refers to, and outlives it."""
    function = handing_on.passes_ended
    if lead:
        function = function.options(external_calls=["makes"])
    with OperationsCoordinator(cores=2) as coordinator:
        coordinator.pause_operation("adds")
        (added,) = function(3).get(20)
        for number in range(20):
            assert handing_on.tenfold(number).get(20) == number * 10
        coordinator.resume_operation("adds")
        assert added.get(20) == 30
        assert restarts(coordinator) == 0


def test_nothing_is_kept_once_all_have_ended():
    """When nobody refers to the value any more, nothing is known of its tokens."""
    with OperationsCoordinator(cores=2) as coordinator:
        for function in FORMS:
            token = handing_on.makes(3)
            dependent = function(token)
            dependent.get(20)
            del token, dependent
        for number in range(200):
            handing_on.tenfold(number).get(20)
            if remains(coordinator) == 0:
                break
        assert remains(coordinator) == 0


def test_a_token_that_is_known_no_more_is_an_error_of_who_asks():
    """A reference that travels where nobody sees it may come too late: that harms no core."""
    with OperationsCoordinator(cores=2) as coordinator:
        opened = handing_on.seals(3).get(20)
        for number in range(200):
            handing_on.tenfold(number).get(20)
            if remains(coordinator) == 0:
                break
        *lost, dependent = handing_on.opens(opened).get(20)
        for token in lost:
            with pytest.raises(PayloadError, match="not known any more"):
                token.get(20)
        with pytest.raises(DependencyFailed, match="not known any more"):
            dependent.get(20)
        assert restarts(coordinator) == 0
