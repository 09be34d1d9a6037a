"""Core processes that cannot be started, and functions that cannot be loaded there."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import types

import pytest
import work

from tokengate_mp import CoreStartError, OperationsCoordinator, TokenState, WorkerLost
from tokengate_mp.scheduling.policy import restart
from tokengate_mp.wire.channel import segment


@pytest.fixture
def broken_children(tmp_path, monkeypatch):
    """Core processes find a module in the way that ends them; this one has the real one loaded."""
    (tmp_path / "msgspec.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(restart, "START_PAUSE", 0.01)


def test_every_token_ends_when_no_core_can_start(broken_children):
    """Tokens made before, and calls made after that, end with CoreStartError; nothing hangs."""

    async def main():
        async with OperationsCoordinator(cores=2) as coordinator:
            tokens = [work.square(n) for n in range(100)]
            tokens += [work.square.options(weight=w)(1) for w in ("light", "heavy")]
            results = await asyncio.gather(*tokens, return_exceptions=True)
            assert {type(result) for result in results} == {CoreStartError}
            assert "doctor" in str(results[0])
            assert {token.state for token in tokens} == {TokenState.FAILED}
            for _ in range(3):
                with pytest.raises(CoreStartError):
                    await work.square(3)
            with pytest.raises(CoreStartError):
                await asyncio.to_thread(lambda: work.square(3).get(20))
            await coordinator.join()
            stats = coordinator.get_stats()
            assert not any(core["alive"] for core in stats["cores"])
            assert stats["tokens"]["failed"] == 106

    asyncio.run(main())


def test_no_core_can_start_in_a_plain_script(broken_children):
    """The same with get()."""
    with OperationsCoordinator(cores=1):
        with pytest.raises(CoreStartError):
            work.square(3).get(20)
        with pytest.raises(CoreStartError):
            work.square(3).get(20)


def test_stop_while_starts_fail(broken_children, monkeypatch):
    """stop() between two attempts leaves no attempt behind."""
    monkeypatch.setattr(restart, "START_PAUSE", 60)

    async def main():
        async with OperationsCoordinator(cores=1) as coordinator:
            token = work.square(1)
            while coordinator.get_stats()["cores"][0]["pid"] is not None:  # noqa: ASYNC110
                await asyncio.sleep(0)
            coordinator.stop()
            assert token.state is TokenState.KILLED

    asyncio.run(main())


async def _give_up_core(coordinator, core) -> None:
    """Kill each process of one core before it is up, until there is none any more."""
    seen = set()
    while len(seen) < restart.START_ATTEMPTS:
        pid = coordinator.get_stats()["cores"][core - 1]["pid"]
        if pid is not None and pid not in seen:
            seen.add(pid)
            os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0)
    while coordinator.get_stats()["cores"][core - 1]["pid"] is not None:  # noqa: ASYNC110
        await asyncio.sleep(0)


@pytest.mark.parametrize("routing", ["strict", "work_conserving"])
@pytest.mark.parametrize("core", [1, 2])
def test_one_core_of_two_that_never_starts(monkeypatch, routing, core):
    """The other one serves what it may; what only the missing one may run fails at once."""
    monkeypatch.setattr(restart, "START_PAUSE", 0.01)

    async def main():
        async with OperationsCoordinator(cores=2, routing=routing) as coordinator:
            early = work.square.options(weight="light")(6)
            await _give_up_core(coordinator, core)
            heavy = [work.square.options(weight="heavy")(n) for n in range(50)]
            light = [work.square.options(weight="light")(n) for n in range(50)]
            assert await asyncio.gather(*heavy) == [n * n for n in range(50)]
            results = await asyncio.gather(early, *light, return_exceptions=True)
            if routing == "strict" and core == 2:
                assert {type(result) for result in results} == {CoreStartError}
            else:
                assert results == [36, *(n * n for n in range(50))]

    asyncio.run(main())


def test_no_process_can_be_made(monkeypatch):
    """Where the system refuses a process, start() says so, and leaves nothing."""

    def refuse(*_args, **_options):
        raise BlockingIOError(errno.EAGAIN, "no more processes")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(CoreStartError, match=r"core 1 cannot be started: .* no more processes"):
        OperationsCoordinator(cores=2).start()
    monkeypatch.undo()
    with OperationsCoordinator(cores=1):
        assert work.square(2).get(20) == 4


def test_the_second_process_cannot_be_made(monkeypatch):
    """What was started before the refusal carries on; stop() waits for no further attempt."""
    made = []
    popen = subprocess.Popen

    def refuse(*args, **options):
        if made:
            raise BlockingIOError(errno.EAGAIN, "no more processes")
        made.append(popen(*args, **options))
        return made[0]

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with OperationsCoordinator(cores=2):
        assert [work.square(n).get(20) for n in range(20)] == [n * n for n in range(20)]
    assert made[0].returncode is not None


def test_too_little_shared_memory(monkeypatch):
    """Memory for a mailbox that is not there is an error of start(), not a crash later."""

    def full(_fd, _offset, size):
        raise OSError(errno.ENOSPC, f"no room for {size}")

    monkeypatch.setattr(segment.os, "posix_fallocate", full)
    for portable in ("0", "1"):
        monkeypatch.setenv("TOKENGATE_MP_PORTABLE", portable)
        with pytest.raises(CoreStartError, match="shared memory for a core's mailbox"):
            OperationsCoordinator(cores=2).start()
    monkeypatch.undo()
    with OperationsCoordinator(cores=1):
        assert work.square(2).get(20) == 4


def test_no_memory_for_a_replacement(monkeypatch):
    """A core that cannot be started again is given up; its tokens end, and nothing hangs."""
    monkeypatch.setattr(restart, "START_PAUSE", 0.01)

    def full(_fd, _offset, size):
        raise OSError(errno.ENOSPC, f"no room for {size}")

    async def main():
        async with OperationsCoordinator(cores=1):
            assert await work.square(2) == 4
            monkeypatch.setattr(segment.os, "posix_fallocate", full)
            dying, waiting = work.die(signal.SIGKILL), work.square(2)
            results = await asyncio.gather(dying, waiting, return_exceptions=True)
            assert type(results[1]) is CoreStartError
            with pytest.raises(CoreStartError):
                await work.square(2)

    asyncio.run(main())


def test_a_module_that_only_the_parent_can_import(monkeypatch):
    """Its tokens raise what importing it raised; every other one is right."""
    module = types.ModuleType("only_in_the_parent")
    exec("def f(x):\n    return x", vars(module))  # noqa: S102 - how else is it in no file
    monkeypatch.setitem(sys.modules, module.__name__, module)

    async def main():
        async with OperationsCoordinator(cores=2) as coordinator:
            tokens = []
            for n in range(50):
                tokens += [coordinator.submit(module.f, n), work.square(n)]
            results = await asyncio.gather(*tokens, return_exceptions=True)
            for n in range(50):
                assert type(results[2 * n]) is ModuleNotFoundError
                assert results[2 * n + 1] == n * n
            stats = coordinator.get_stats()
            assert sum(core["restarts"] for core in stats["cores"]) == 0

    asyncio.run(main())


def test_a_module_that_ends_its_process(tmp_path, monkeypatch):
    """A module whose import ends the core costs its own tokens, and no other."""
    (tmp_path / "ends_its_process.py").write_text(
        f"import os\nif os.getpid() != {os.getpid()}:\n    os._exit(9)\ndef f(x):\n    return x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import ends_its_process

    async def main():
        async with OperationsCoordinator(cores=2) as coordinator:
            tokens = [work.square(n) for n in range(100)]
            ending = [coordinator.submit(ends_its_process.f, n) for n in range(3)]
            tokens += [work.square(n) for n in range(100)]
            results = await asyncio.gather(*ending, return_exceptions=True)
            assert [type(result) for result in results] == [WorkerLost] * 3
            assert {result.exitcode for result in results} == {9}
            assert await asyncio.gather(*tokens) == [n * n for n in range(100)] * 2
            assert await asyncio.gather(*map(work.square, range(100))) == [
                n * n for n in range(100)
            ]

    asyncio.run(main())
