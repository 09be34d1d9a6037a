"""NestedTokens on real cores."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal

import gates
import pytest
import recursion
import scripts

from tokengate_mp import OperationsCoordinator, TokenKilled, TokenState, WorkerLost
from tokengate_mp.config.seeds import freeze

DIGITS = {"full": 64, "short": 16, "fast": 16, "minimal": 8}


@pytest.mark.parametrize("cores", [4, 16])
async def test_every_chain_stays_on_one_core(cores):
    """Of a thousand chains at once each has all members in one process, and a seed of its own."""
    async with OperationsCoordinator(cores=cores) as coordinator:
        leads = [recursion.lead(4) for _ in range(1000)]
        seeds = set()
        for lead in leads:
            pid, _, children = await lead
            results = await asyncio.gather(*children)
            assert [square for square, _ in results] == [0, 1, 4, 9]
            assert {where for _, where in results} == {pid}
            assert {child.seed for child in children} == {lead.seed}
            assert {child.core for child in children} == {lead.core}
            seeds.add(lead.seed)
        assert len(seeds) == 1000
        await coordinator.join()
        assert coordinator.get_stats()["conductor"]["domains"] == 0


async def test_members_that_block_overlap():
    """The members of a chain run side by side in its crew when they wait for something."""
    with gates.Gate() as gate:
        async with OperationsCoordinator(cores=2, threads_per_core=4):
            lead = recursion.gathers_at(gate.address, 4)
            arrived = await asyncio.to_thread(gate.arrivals, 4)
            assert len({arrival.pid for arrival in arrived}) == 1
            assert len({arrival.thread for arrival in arrived}) == 4
            gate.open()
            assert await lead == ["0", "1", "2", "3"]


@pytest.mark.parametrize("policy", DIGITS)
def test_the_seed_is_the_specified_digest(policy):
    """The parent and the core process find the same seed, by the lead's id and what it calls."""
    with OperationsCoordinator(cores=1):
        function = recursion.seeds.options(tags={"digest_policy": policy}, external_calls=["a"])
        lead = function()
        (own, below, inner), _ = lead.get(20)
        assert lead.seed == own == below != inner
        assert len(own) == DIGITS[policy]
        text = f"{lead.token_id}:{freeze(['a'])}"
        if policy != "fast":
            assert hashlib.sha256(text.encode()).hexdigest().startswith(own)


def test_the_seed_goes_where_the_context_goes():
    """A thread with a copy of the context makes tokens of the chain, and one without does not."""
    with OperationsCoordinator(cores=1):
        lead = recursion.seeds()
        assert lead.get(20)[1] == [lead.seed, None]


def test_outside_a_chain_there_is_no_seed():
    """A token that no lead has made has no seed, even on a core that has run leads."""
    with OperationsCoordinator(cores=1, threads_per_core=1):
        recursion.seeds().get(20)
        token = recursion.inner_seeds()
        own, inner = token.get(20)
        assert token.seed is None
        assert own is None
        assert inner is not None


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 4)])
def test_recursion_in_a_chain(cores, threads):
    """Whatever a chain recurs to stays on its core, and ends, with however few threads."""
    with OperationsCoordinator(cores=cores, threads_per_core=threads) as coordinator:
        tokens = [recursion.leading(n) for n in (12, 5, 9)]
        assert [token.get(40) for token in tokens] == [144, 5, 34]
        wide = recursion.fan_out.options(external_calls=["plus_one"])
        assert wide(3000).get(40) == 3000 * 3001 // 2
        assert coordinator.get_stats()["conductor"]["domains"] == 0


def test_leads_inside_leads():
    """A lead made in a chain runs there, and leads a chain of its own on the same core."""
    with OperationsCoordinator(cores=3) as coordinator:
        pid, inner_pid, members = recursion.leads_a_lead().get(20)
        assert pid == inner_pid
        assert {where for _, where in members} == {pid}
        assert coordinator.get_stats()["conductor"]["domains"] == 0


async def test_a_chain_is_counted_while_it_lasts():
    """A domain is live from the lead's call to the last member's end, even if that is killed."""
    with gates.Gate() as gate:
        async with OperationsCoordinator(cores=2) as coordinator:
            lead = recursion.leaves_behind(gate.address, 2)
            first, second = await lead
            await asyncio.to_thread(gate.arrivals, 2)
            assert coordinator.get_stats()["conductor"]["domains"] == 1
            first.kill("enough")
            assert first.state is TokenState.KILLED
            assert coordinator.get_stats()["conductor"]["domains"] == 1
            gate.open()
            assert await second == "1"
            assert coordinator.get_stats()["conductor"]["domains"] == 0


async def test_a_core_that_dies_with_a_chain_on_it():
    """Members that ran are lost; those that had not begun run on the replacement, all of them."""
    with gates.Gate() as gate:
        async with OperationsCoordinator(cores=3, threads_per_core=2) as coordinator:
            lead = recursion.leaves_behind(gate.address, 6)
            children = await lead
            arrived = await asyncio.to_thread(gate.arrivals, 2)
            os.kill(arrived[0].pid, signal.SIGKILL)
            gate.open()
            others = await asyncio.to_thread(gate.arrivals, 2)
            gate.open()
            others += await asyncio.to_thread(gate.arrivals, 2)
            gate.open()
            results = await asyncio.gather(*children, return_exceptions=True)
            assert sum(isinstance(result, WorkerLost) for result in results) == 2
            assert sum(isinstance(result, str) for result in results) == 4
            assert len({arrival.pid for arrival in others}) == 1
            assert {child.core for child in children} == {lead.core}
            await coordinator.join()
            assert coordinator.get_stats()["conductor"]["domains"] == 0


def test_chains_in_a_script(tmp_path):
    """Leads and members of `__main__` work in a script as it stands."""
    code = """
        from tokengate_mp import OperationsCoordinator, task_token_guard

        @task_token_guard()
        def member(n):
            return n * n

        @task_token_guard(external_calls=["member"])
        def lead(count):
            return [member(n) for n in range(count)]

        with OperationsCoordinator(cores=2):
            for token in [lead(4) for _ in range(3)]:
                print([child.get(20) for child in token.get(20)])
    """
    assert scripts.output(tmp_path / "chain.py", code) == "[0, 1, 4, 9]\n" * 3


def test_what_had_ended_is_not_lost_with_its_core():
    """Members that a lead has got are counted as completed, whatever becomes of the lead then."""
    with OperationsCoordinator(cores=2) as coordinator:
        for _ in range(3):
            with pytest.raises(WorkerLost):
                recursion.dies_after(150).get(20)
        plus_one = coordinator.get_stats()["operations"]["plus_one"]["counts"]
        assert plus_one["completed"] == 450
        assert plus_one["failed"] == 0
    assert coordinator.get_stats()["conductor"]["domains"] == 0


def test_a_member_that_its_maker_runs_can_be_seen_and_killed():
    """The parent knows of it while it runs, and ends it by its operation, but not its maker."""
    with gates.Gate() as gate, OperationsCoordinator(cores=1, threads_per_core=1) as coordinator:
        lead = recursion.wait_for_held.options(external_calls=["held"])(gate.address)
        gate.arrivals()
        while coordinator.get_stats()["tokens"]["executing"] < 2:
            pass  # what a core says when nobody waits for it is heard a few milliseconds later
        coordinator.kill_all_by_operation("held")
        gate.open()
        with pytest.raises(TokenKilled):
            lead.get(20)
        assert recursion.fib(5).get(20) == 5


def test_a_lead_that_is_killed_under_a_member_stops_after_it():
    """However often its core has nothing to do in the meantime; and its process lives on."""
    with (
        gates.Gate() as gate,
        gates.Gate() as after,
        OperationsCoordinator(cores=1, threads_per_core=2, grace=20) as coordinator,
    ):
        recursion.plus_one(1).get(20)  # so that importing its module keeps nobody from the member
        lead = recursion.goes_on_after_held(gate.address, after.address)
        (arrival,) = gate.arrivals()
        assert lead.kill("enough")
        while not recursion.heard_of_its_end(lead.token_id).get(20):
            pass  # another connection than that of tokens tells the core
        for _ in range(4):  # after each, the core has nothing to do
            recursion.plus_one(1).get(20)
        gate.open()
        while coordinator.get_stats()["cores"][0]["executing"]:
            pass
        after._server.setblocking(False)
        with pytest.raises(BlockingIOError):
            after._server.accept()
        assert coordinator.get_stats()["cores"][0]["pid"] == arrival.pid


def test_deep_and_wide_in_one_chain():
    """Fibonacci 20 and ten thousand members of one token end on one core with one thread."""
    with OperationsCoordinator(cores=1, threads_per_core=1):
        assert recursion.leading(20).get(50) == 6765
        wide = recursion.fan_out.options(external_calls=["plus_one"])
        assert wide(10_000).get(50) == 10_000 * 10_001 // 2
