"""What the parent and a core process know of the tokens that the process refers to."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from contextlib import nullcontext
from types import SimpleNamespace
from weakref import ref

import gates
import handing_on
import pytest

from tokengate_mp import OperationsCoordinator
from tokengate_mp.scheduling.nested.waits import Waits
from tokengate_mp.worker.crew.known_tokens import KnownTokens
from tokengate_mp.worker.nested.calls import Calls
from tokengate_mp.worker.nested.child_token import ChildToken


@pytest.fixture
def switching():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Told(Calls):
    """Calls without a parent: they note what it is told."""

    def __init__(self):
        self.known = KnownTokens()
        self._here = SimpleNamespace(shield=nullcontext)
        self.prefix = "test"
        self.told = []

    def tell_parent(self, number, kind, first=0, second=0, value=0):
        self.told.append(number)


async def test_a_reference_that_is_found_anew_is_dropped_once():
    """In whatever order that is heard: the process keeps the token, and when it is gone, not."""
    with gates.Gate() as gate:
        async with OperationsCoordinator(cores=2, threads_per_core=1) as coordinator:
            made = handing_on.leaves_at(gate.address)
            holder = handing_on.drops_late(made)
            (token,) = await made
            await asyncio.to_thread(gate.arrivals, 1)
            pid = await holder
            peers = coordinator._run.engine._receiver._peers
            (process,) = [each for each in peers.values() if each.link.facts().pid == pid]
            assert process.kept[token.number] is token
            assert token.keepers.count(process) == 1
            os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(process.link.launched.process.wait, 20)
            while process in peers.values():
                assert await handing_on.tenfold(1) == 10
            assert process not in token.keepers
            gate.open()
            await token
            assert await handing_on.tenfold(1) == 10


def test_a_process_has_one_reference_to_a_token(switching):
    """Threads that find the same token at the same time share it, and the parent hears of one."""
    calls, threads = Told(), 4
    for number in range(1, 1000):
        together, found = threading.Barrier(threads), []

        def find(number=number, together=together, found=found):
            together.wait()
            found.append(calls.refer(number, "found"))

        finders = [threading.Thread(target=find) for _ in range(threads)]
        for finder in finders:
            finder.start()
        for finder in finders:
            finder.join()
        assert len({id(token) for token in found}) == 1
        assert calls.told.count(number) == 1


def test_a_reference_takes_no_other_with_it():
    """One that goes when another stands in its place already leaves that there."""
    calls = Told()
    first, second = (ChildToken(calls, 1, "found") for _ in range(2))
    calls.known.by_number[1] = ref(second)
    del first
    assert calls.known.by_number[1]() is second
    del second
    assert calls.known.by_number == {}
    assert list(calls.known.dropped) == [1, 1]


def test_nothing_is_kept_of_tokens_that_were_called_back(monkeypatch):
    """Those that a claimed token waited behind, and nobody claimed, leave nothing either."""
    with OperationsCoordinator(cores=1, threads_per_core=1) as coordinator, gates.Gate() as gate:
        claims, call = coordinator._run.engine._nested_tokens.claims, coordinator._run.host.call
        asked, stalls = [], Waits.stalls

        def watched(waits, ticket, ask_back):
            def ask(called, holder):
                asked.append(called.number)
                ask_back(called, holder)

            return stalls(waits, ticket, ask)

        monkeypatch.setattr(Waits, "stalls", watched)
        token = handing_on.waits_behind(gate.address)
        gate.arrivals(1)
        while coordinator.get_stats()["operations"].get("guarded", {}).get("held") != 1:
            pass
        gate.open()
        assert token.get(20) == 2
        assert asked
        del token
        for number in range(200):
            handing_on.tenfold(number).get(20)
            if not call(lambda: len(claims._asked)):
                break
        assert call(lambda: len(claims._asked)) == 0
