"""Tokens as arguments of calls made inside tokens, and anchors there."""

from __future__ import annotations

import asyncio

import gates
import pytest
import recursion

from tokengate_mp import OperationsCoordinator

SMALL = [(1, 1), (2, 1), (3, 2)]


def in_chain(function):
    """The same function as a lead: what it makes is a chain."""
    return function.options(external_calls=["plus_one"])


def as_it_is(function):
    """The function itself: what it makes goes wherever there is room."""
    return function


@pytest.mark.parametrize("how", [as_it_is, in_chain])
@pytest.mark.parametrize(("cores", "threads"), SMALL)
def test_tokens_stand_for_their_values(cores, threads, how):
    """Wherever a token is among the arguments, ended or not, the call gets its value."""
    with OperationsCoordinator(cores=cores, threads_per_core=threads) as coordinator:
        tokens = [how(recursion.passes_tokens)(n) for n in range(8)]
        for n, token in enumerate(tokens):
            assert token.get(40) == [n + 3, 4 * n + 10, 4 * n + 11, 3 * n + 9, n + 2]
        assert coordinator.get_stats()["conductor"]["domains"] == 0


@pytest.mark.parametrize("how", [as_it_is, in_chain])
@pytest.mark.parametrize(("cores", "threads"), SMALL)
def test_trees_and_lines(cores, threads, how):
    """Graphs made inside a token give what a loop gives, with however few threads."""
    with OperationsCoordinator(cores=cores, threads_per_core=threads):
        trees = [how(recursion.add_tree)(0, 100) for _ in range(4)]
        lines = [how(recursion.long_line)(300) for _ in range(2)]
        assert [tree.get(40) for tree in trees] == [5050] * 4
        assert [line.get(40) for line in lines] == [300] * 2


@pytest.mark.parametrize("how", [as_it_is, in_chain])
@pytest.mark.parametrize(("cores", "threads"), SMALL)
def test_needs_that_only_the_parent_knows(cores, threads, how):
    """A thread that waits for a token found in a result gets to know what that one needs."""
    with OperationsCoordinator(cores=cores, threads_per_core=threads):
        tokens = [how(recursion.waits_for_line)(20) for _ in range(4)]
        assert [token.get(40) for token in tokens] == [20] * 4


@pytest.mark.parametrize("how", [as_it_is, in_chain])
def test_a_failure_fails_what_needs_it(how):
    """Who waits for the dependent gets the reason."""
    with OperationsCoordinator(cores=2):
        name, text = how(recursion.passes_failure)().get(20)
        assert name == "DependencyFailed"
        assert "as said" in text


@pytest.mark.parametrize(("cores", "threads"), SMALL)
def test_anchored_calls_inside_tokens(cores, threads):
    """They end, whoever waits for whom, and no pin is left."""
    with OperationsCoordinator(cores=cores, threads_per_core=threads) as coordinator:
        tokens = [recursion.calls_anchored(4, n % 2) for n in range(8)]
        assert all(len(token.get(40)) == 8 for token in tokens)
        assert coordinator.get_stats()["sticky"]["pins"] == 0


async def test_anchored_calls_share_a_core():
    """Tokens of one key that were made in different processes run in the same one."""
    with gates.Gate() as gate:
        async with OperationsCoordinator(cores=3) as coordinator:
            made = await asyncio.gather(*[recursion.holds_key(gate.address) for _ in range(3)])
            arrived = await asyncio.to_thread(gate.arrivals, 4)
            assert len({arrival.pid for arrival in arrived}) == 1
            assert coordinator.get_stats()["sticky"]["pins"] == 1
            gate.close()
            pids = await asyncio.gather(*[token for tokens in made for token in tokens])
            assert len(set(pids)) == 1
            await coordinator.join()
            assert coordinator.get_stats()["sticky"]["pins"] == 0


def test_in_a_chain_the_chain_decides():
    """An anchored call of a chain runs on the chain's core, and pins nothing."""
    with OperationsCoordinator(cores=2) as coordinator:
        pids = in_chain(recursion.calls_anchored)(3, "key").get(20)
        assert len(set(pids)) == 1
        assert coordinator.get_stats()["sticky"]["pins"] == 0


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("how", [as_it_is, in_chain])
def test_map_inside_a_token(how, ordered):
    """A map made inside a token gives all results, in order if that is asked for."""
    with OperationsCoordinator(cores=2, threads_per_core=1):
        found = how(recursion.maps)(500, ordered=ordered).get(20)
        assert (found if ordered else sorted(found)) == list(range(1, 501))


def test_a_map_inside_a_token_says_which_item_failed():
    """The error names the item, what was under way is ended, and endless items are no trouble."""
    with OperationsCoordinator(cores=1, threads_per_core=1) as coordinator:
        index, found = recursion.maps_endlessly().get(20)
        assert index == 3
        assert found == [1, 2, 3]
        asyncio.run_coroutine_threadsafe(coordinator.join(), coordinator._run.host.loop).result(20)
        assert coordinator.get_stats()["tokens"]["waiting"] == 0
