"""An operation that fails too often takes no calls for a while, and nobody waits for them."""

from __future__ import annotations

import asyncio
import pickle
import signal
import threading

import gates
import pytest
import work

from tokengate_mp import (
    CircuitBreaker,
    OperationBlocked,
    OperationsCoordinator,
    TokenTimeout,
    WorkerLost,
    task_token_guard,
)
from tokengate_mp.config.options import Policy
from tokengate_mp.engine.outbound.breaker_guard import BreakerGuard
from tokengate_mp.scheduling.model.breaker import BreakerState
from tokengate_mp.scheduling.operations import OperationRegistry
from tokengate_mp.scheduling.scheduler import Scheduler

LONG = CircuitBreaker(failure_share=0.5, minimum=4, pause=3600.0, probes=2)
AT_ONCE = CircuitBreaker(failure_share=0.5, minimum=4, pause=0.0, probes=2)


@task_token_guard(operation_type="shaky", breaker=LONG)
def shaky(*, fails: bool) -> str:
    """Fail, or not."""
    if fails:
        raise ValueError("as it should")
    return "well"


def breaker(coordinator, name="shaky"):
    """What the statistics say of a breaker."""
    return coordinator.get_stats()["operations"][name]["breaker"]


async def fail(function, times):
    """Let it fail so often."""
    tokens = [function(fails=True) for _ in range(times)]
    ends = await asyncio.gather(*tokens, return_exceptions=True)
    assert all(isinstance(end, ValueError | OperationBlocked) for end in ends)


def test_it_opens_at_the_share_that_it_was_given_and_can_be_reset(run):
    """Below it calls are taken; beyond it they raise, whoever makes them, until it is reset."""

    async def main():
        async with OperationsCoordinator(cores=2) as c:
            assert await asyncio.gather(*(shaky(fails=False) for _ in range(4))) == ["well"] * 4
            await fail(shaky, 3)
            assert breaker(c) == {"state": "closed", "ended": 7, "failed": 3, "seconds": 0}
            await fail(shaky, 1)
            assert breaker(c)["state"] == "open"
            assert 0 < breaker(c)["seconds"] <= 3600
            for make in (shaky, shaky.options(timeout=5)):
                with pytest.raises(OperationBlocked, match="'shaky' takes no calls for another"):
                    make(fails=False)
            with pytest.raises(OperationBlocked, match="reset_operation"):
                await asyncio.to_thread(shaky, fails=False)
            assert await work.square(3) == 9
            assert c.reset_operation("shaky")
            assert not c.reset_operation("shaky")
            assert not c.reset_operation("square")
            assert not c.reset_operation("unknown")
            assert await shaky(fails=False) == "well"
            assert breaker(c, "square") is None

    run(main)


def test_it_closes_when_its_probes_complete_and_opens_when_one_fails(run):
    """After its pause so many calls are let through as it has probes, and their ends decide."""
    probed = work.gated.options(operation_type="probed", breaker=AT_ONCE)
    shaky_too = shaky.options(operation_type="probed", breaker=AT_ONCE)

    async def main():
        with gates.Gate() as gate:
            async with OperationsCoordinator(cores=2) as c:
                await fail(shaky_too, 4)
                first = shaky_too(fails=True)
                with pytest.raises(ValueError, match="as it should"):
                    await first
                assert breaker(c, "probed")["state"] == "open"
                probes = [probed(gate.address) for _ in range(2)]
                assert breaker(c, "probed")["state"] == "half_open"
                with pytest.raises(OperationBlocked, match="until 2 tokens"):
                    probed(gate.address)
                probes[0].cancel()
                probes[0] = shaky_too(fails=False)
                await asyncio.to_thread(gate.arrivals)
                gate.close()
                assert await asyncio.gather(*probes) == ["well", ""]
                assert breaker(c, "probed")["state"] == "closed"

    run(main)


def test_what_waits_when_it_opens_ends_too(run):
    """A burst of failures is over at once: join and gather end, and what depends on them too."""

    async def main():
        async with OperationsCoordinator(cores=1) as c:
            c.pause_admission()
            tokens = [shaky(fails=True) for _ in range(5_000)]
            after = work.echo(tokens[-1])
            c.resume_admission()
            ends = await asyncio.gather(*tokens, return_exceptions=True)
            await c.join()
            assert {type(end) for end in ends} == {ValueError, OperationBlocked}
            with pytest.raises(Exception, match="OperationBlocked"):
                await after
            assert breaker(c)["state"] == "open"
            assert c.get_stats()["operations"]["shaky"]["counts"]["failed"] == 5_000

    run(main)


def test_timeouts_and_lost_processes_are_failures_and_kills_are_not():
    """Only what ended badly by itself counts, once for each token however often it was run."""
    once = CircuitBreaker(failure_share=0.5, minimum=1, pause=3600.0)

    async def main():
        with gates.Gate() as gate:
            async with OperationsCoordinator(cores=1, grace=20) as c:
                slow = work.spinning.options(operation_type="slow", breaker=once, timeout=0.05)
                killed = [slow(gate.address) for _ in range(3)]
                assert [token.kill() for token in killed] == [True] * 3
                killed[0].cancel()
                await asyncio.gather(*killed, return_exceptions=True)
                assert breaker(c, "slow")["ended"] == 0
                with pytest.raises(TokenTimeout):
                    await slow(gate.address)
                assert breaker(c, "slow")["state"] == "open"
                dying = work.die.options(operation_type="dying", breaker=once)
                with pytest.raises(WorkerLost):
                    await dying(signal.SIGKILL)
                assert breaker(c, "dying")["state"] == "open"
                retried = shaky.options(operation_type="retried", retries=2)
                with pytest.raises(ValueError, match="as it should"):
                    await retried(fails=True)
                assert breaker(c, "retried")["failed"] == 1

    asyncio.run(main())


class Turns:
    """A lock that says when a second thread comes to it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiting = threading.Event()

    def __enter__(self) -> None:
        if not self.lock.acquire(blocking=False):
            self.waiting.set()
            self.lock.acquire()

    def __exit__(self, *_error: object) -> None:
        self.lock.release()


def test_a_reset_does_not_come_between_a_call_and_its_step():
    """A call in another thread that finds the pause over goes through, whoever resets just then."""
    turns = Turns()
    operations = OperationRegistry(1, turns)
    scheduler = Scheduler(1, 1, "work_conserving", operations=operations)
    operation = operations.declare("work", "medium", Policy(breaker=AT_ONCE))
    door = BreakerGuard(scheduler, None)
    resets = []

    def reset():
        resets.append(door.reset("work"))
        turns.waiting.set()

    thread = threading.Thread(target=reset)

    class Over(int):
        def __le__(self, now):
            thread.start()
            turns.waiting.wait()
            return True

    breaker = operation.breaker
    for number in range(AT_ONCE.minimum):
        breaker.token_failed(number, 0)
    breaker.until = Over()
    assert door.pass_in(AT_ONCE.minimum, operation, lambda: "made") == "made"
    thread.join()
    assert resets == [True]
    assert breaker.state is BreakerState.CLOSED
    breaker.validate()


@task_token_guard(operation_type="inside")
def inside(count: int) -> list:
    """Make calls that fail, here, and say what became of each."""
    names = []
    for _ in range(count):
        try:
            shaky(fails=True).get()
        except (ValueError, OperationBlocked) as error:
            names.append(type(error).__name__)
    return names


def test_calls_made_inside_tokens_end_when_it_is_open():
    """They are no longer run: whoever waits for them there gets the same error."""

    async def main():
        async with OperationsCoordinator(cores=1):
            names = await inside(10)
            assert names[:4] == ["ValueError"] * 4
            assert names[-1] == "OperationBlocked"
            assert await inside(1) == ["OperationBlocked"]

    asyncio.run(main())


def test_bad_values_are_refused_where_they_are_written():
    """Each error names what is wrong; so does mapping over items, which are no tokens."""
    for bad in ({"failure_share": 0}, {"failure_share": 1.5}, {"window": 0}, {"minimum": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            CircuitBreaker(**bad)
    for bad in ({"failure_share": "a"}, {"window": "a"}, {"probes": 1.5}, {"pause": None}):
        with pytest.raises(TypeError, match=next(iter(bad))):
            CircuitBreaker(**bad)
    with pytest.raises(TypeError, match="breaker must be a CircuitBreaker"):
        task_token_guard(operation_type="x", breaker=0.5)
    with OperationsCoordinator(cores=1):
        with pytest.raises(ValueError, match="breaker"):
            shaky.map([1])
        assert shaky(fails=False).get(20) == "well"
        with pytest.raises(ValueError, match="one operation has one breaker"):
            shaky.options(breaker=None)(fails=False)


def test_copies_keep_the_breaker():
    """Options that are not named stay, in a copy and in a pickle."""
    copy = shaky.options(timeout=3)
    assert copy.token_options.policy.breaker == LONG
    assert pickle.loads(pickle.dumps(copy)).token_options == copy.token_options
    assert shaky.options(breaker=None).token_options.policy.breaker is None
