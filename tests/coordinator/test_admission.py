"""Limits on what is pending: exact, and never a deadlock."""

from __future__ import annotations

import asyncio
import threading

import gates
import pytest
import work

from tokengate_mp import AdmissionRejected, CoordinatorNotRunning, OperationsCoordinator
from tokengate_mp.engine import admission


@pytest.fixture
def gate():
    """A gate for the tokens of a test."""
    with gates.Gate() as made:
        yield made


@pytest.mark.parametrize("on_full", ["wait", "reject"])
@pytest.mark.parametrize("limit", [1, 5, 300])
def test_within_a_loop_a_call_beyond_the_limit_is_refused(on_full, limit):
    """Exactly so many tokens are taken; the error says what to do; ended ones make room."""

    async def main():
        async with OperationsCoordinator(cores=1, max_pending=limit, on_full=on_full) as c:
            c.pause_admission()
            for _ in range(2):
                tokens = [work.echo(n) for n in range(limit)]
                for _ in range(3):
                    with pytest.raises(AdmissionRejected, match="ready") as caught:
                        work.echo(1)
                assert f"max_pending={limit}" in str(caught.value)
                c.resume_admission()
                assert await asyncio.gather(*tokens) == list(range(limit))
                c.pause_admission()
            assert c.get_stats()["tokens"]["completed"] == 2 * limit

    asyncio.run(main())


def test_ready_paces_any_number_of_makers():
    """With a limit of 8, 40 tasks make 2,000 tokens, none is refused, and all end."""

    async def main():
        async with OperationsCoordinator(cores=2, max_pending=8) as c:
            most = 0

            async def make(first):
                nonlocal most
                results = []
                for n in range(first, first + 50):
                    await c.ready()
                    token = work.square(n)
                    most = max(most, c._run.engine.pending_count())
                    results.append(await token)
                return results

            made = await asyncio.gather(*[make(100 * each) for each in range(40)])
            assert made == [[n * n for n in range(100 * e, 100 * e + 50)] for e in range(40)]
            assert most <= 8

    asyncio.run(main())


def test_a_maker_that_gives_up_leaves_no_hole():
    """One that is cancelled while it waits does not take the room from the next."""

    async def main():
        async with OperationsCoordinator(cores=1, max_pending=1) as c:
            c.pause_admission()
            token = work.echo(1)
            waiting = [asyncio.create_task(c.ready()) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            token.kill()
            await waiting[1]
            assert waiting[0].cancelled()
            c.resume_admission()
            await waiting[2]

    asyncio.run(main())


def test_those_who_wait_and_make_no_call_hold_up_nobody():
    """With one place and nothing pending, any number are told in turn that there is room."""

    async def main():
        async with OperationsCoordinator(cores=1, max_pending=1) as c:
            c.pause_admission()
            token = work.echo(1)
            told = []

            async def wait(number):
                await c.ready()
                told.append(number)

            waiting = [asyncio.create_task(wait(number)) for number in range(40)]
            await asyncio.sleep(0)
            token.kill()
            await asyncio.gather(*waiting)
            assert told == list(range(40))

    asyncio.run(main())


def test_one_that_gives_up_when_it_is_called_leaves_its_room_to_the_next():
    """Cancelled between being told and going on, and no turn comes: the next one is told."""

    async def main():
        async with OperationsCoordinator(cores=1, max_pending=1) as c:
            limits = c._run.engine.admission
            limits._count = lambda: 1
            waiting = [asyncio.create_task(c.ready()) for _ in range(2)]
            await asyncio.sleep(0)
            limits._count = lambda: 0
            limits.make_room()
            limits.crowded = False  # no turn looks for those who wait
            waiting[0].cancel()
            await waiting[1]
            assert waiting[0].cancelled()

    asyncio.run(main())


def test_room_is_given_to_one_at_a_time_in_the_order_of_asking():
    """However often it is looked whether there is room, whoever is told finds it and calls."""

    async def main():
        async with OperationsCoordinator(cores=1, max_pending=1) as c:
            made = []

            async def make(number):
                await c.ready()
                made.append(number)
                c._run.engine.admission.make_room()
                token = work.echo(number)
                c._run.engine.admission.make_room()
                return await token

            assert await asyncio.gather(*map(make, range(50))) == list(range(50))
            assert made == list(range(50))

    asyncio.run(main())


def test_one_who_is_told_in_another_loop_finds_the_room():
    """It makes its call later than it is told; nobody else is given its room in between."""

    async def main():
        async with OperationsCoordinator(cores=1, max_pending=2) as c:
            c.pause_admission()
            held = [work.echo(n) for n in range(2)]
            home = asyncio.get_running_loop()

            async def make_room():
                for token in held:
                    token.kill()
                c.resume_admission()

            async def make(number):
                await c.ready()
                return await work.echo(number)

            async def elsewhere():
                makers = [asyncio.create_task(make(number)) for number in range(60)]
                await asyncio.sleep(0)  # by when all of them have asked
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(make_room(), home))
                return await asyncio.gather(*makers)

            made = await asyncio.to_thread(asyncio.run, elsewhere())
            assert made == list(range(60))

    asyncio.run(main())


def test_a_thread_waits_for_room(gate):
    """A call in a thread without a loop blocks until a token has ended."""
    with OperationsCoordinator(cores=1, threads_per_core=2, max_pending=2):
        held = [work.gated(gate.address, str(n)) for n in range(2)]
        gate.arrivals(2)
        made = []
        maker = threading.Thread(target=lambda: made.append(work.echo("late")))
        maker.start()
        assert not made
        gate.open("0")
        maker.join()
        assert made[0].get(20) == "late"
        gate.open()
        assert sorted(token.get(20) for token in held) == ["0", "1"]


def test_a_thread_that_was_told_of_room_in_vain_is_told_again(monkeypatch):
    """One that finds its room taken waits on, and is seen to wait, without a look of its own."""
    monkeypatch.setattr(admission, "LOOK_SECONDS", None)
    pending = 1
    looks = threading.Semaphore(0)
    maker = None

    def count():
        if threading.current_thread() is maker:
            looks.release()
        return pending

    limits = admission.Admission(1, 1 << 20, "wait", count)
    maker = threading.Thread(target=limits.wait_in_thread, args=["work"])
    maker.start()
    looks.acquire()
    limits.make_room()  # which gets past the maker when that waits, and finds no room
    looks.acquire()
    with limits._entry:  # free as soon as the maker waits again
        crowded = limits.crowded
    pending = 0
    limits.make_room()
    maker.join()
    assert crowded


def test_a_thread_far_beyond_the_limit_needs_no_look_of_its_own(monkeypatch):
    """A burst of calls from a thread, of many times the limit: each waits until it is told."""
    monkeypatch.setattr(admission, "LOOK_SECONDS", None)
    with OperationsCoordinator(cores=1, max_pending=8):
        tokens = [work.square(n) for n in range(500)]
        assert [token.get(20) for token in tokens] == [n * n for n in range(500)]


def test_a_thread_is_refused_if_it_is_not_to_wait(gate):
    """`on_full="reject"` holds in threads too."""
    with OperationsCoordinator(cores=1, max_pending=1, on_full="reject"):
        held = work.gated(gate.address)
        with pytest.raises(AdmissionRejected):
            work.echo(1)
        gate.arrivals(1)
        gate.open()
        held.get(20)
        assert work.echo(1).get(20) == 1


def test_a_waiting_thread_hears_of_the_end(gate):
    """When the coordinator stops there will be no room any more."""
    c = OperationsCoordinator(cores=1, max_pending=1).start()
    try:
        work.gated(gate.address)
        caught = []

        def make():
            try:
                work.echo(1)
            except CoordinatorNotRunning as error:
                caught.append(error)

        maker = threading.Thread(target=make)
        maker.start()
        gate.arrivals(1)
    finally:
        c.stop()
    maker.join()
    assert caught


def test_large_arguments_count_by_their_bytes():
    """They are refused beyond the limit, and counted off however their tokens end."""

    async def main():
        block = bytes(100_000)
        async with OperationsCoordinator(cores=1, max_pending_bytes=250_000) as c:
            c.pause_admission()
            tokens = [work.echo(block) for _ in range(3)]
            with pytest.raises(AdmissionRejected, match="max_pending_bytes=250,000"):
                work.echo(block)
            with pytest.raises(AdmissionRejected):
                work.echo(1)
            tokens[0].kill()
            tokens[1].cancel()
            again = [work.echo(block) for _ in range(2)]
            c.resume_admission()
            assert await asyncio.gather(tokens[2], *again) == [block] * 3
            assert c._run.engine.admission.large == 0
            with pytest.raises(ValueError, match="nothing"):
                await c.submit(raise_it, block)
            assert c._run.engine.admission.large == 0

    asyncio.run(main())


def raise_it(_block: bytes) -> None:
    """Fail."""
    raise ValueError("nothing")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"max_pending": 0}, ValueError, "max_pending must be from 1"),
        ({"max_pending": 1.5}, TypeError, "max_pending must be an int"),
        ({"max_pending_bytes": 0}, ValueError, "max_pending_bytes must be from 1"),
        ({"on_full": "block"}, ValueError, "on_full must be one of 'wait', 'reject'"),
        ({"poison_limit": 0}, ValueError, "poison_limit must be from 1"),
    ],
)
def test_bad_limits(arguments, error, words):
    """A limit that makes no sense is refused where it is written down."""
    with pytest.raises(error, match=words):
        OperationsCoordinator(**arguments)
