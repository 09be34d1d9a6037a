"""What a user's object raises when it is brought to the caller ends its own token alone."""

from __future__ import annotations

import asyncio

import odd_work

from tokengate_mp import OperationsCoordinator

ODD = {20, 40, 60, 80, 100, 120}


def is_whole(results):
    """Whether all but the odd ones are results, and those are errors."""
    whole = all(results[n] == [n] for n in range(200) if n not in ODD)
    return whole and all(issubclass(type(results[n]), Exception) for n in ODD)


def test_in_an_event_loop():
    """All others arrive, and the coordinator goes on."""

    async def main():
        async with OperationsCoordinator(cores=1):
            tokens = [odd_work.odd(n) for n in range(200)]
            results = await asyncio.gather(*tokens, return_exceptions=True)
            assert is_whole(results)
            assert await odd_work.odd(1) == [1]

    asyncio.run(main())


def test_in_a_thread():
    """The same for a coordinator that lives in a thread of its own."""
    with OperationsCoordinator(cores=1):
        tokens = [odd_work.odd(n) for n in range(200)]
        results = []
        for token in tokens:
            try:
                results.append(token.get(20))
            except BaseException as error:  # noqa: BLE001 - odd ones
                results.append(error)
        assert is_whole(results)


def test_in_a_map():
    """Each has its place among the results, and no call is made twice."""
    with OperationsCoordinator(cores=1):
        assert is_whole(list(odd_work.odd.map(range(200), return_exceptions=True)))
        assert sorted(odd_work.calls_of_odd().get(20)) == list(range(200))
