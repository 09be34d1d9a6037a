"""Controls act at once on what waits, per token, per operation and on everything."""

from __future__ import annotations

import asyncio
import json

import gates
import pytest
import work

from tokengate_mp import CoordinatorNotRunning, OperationsCoordinator, TokenKilled, task_token_guard
from tokengate_mp.observe.history import HISTORY, History


@pytest.fixture
def gate():
    """A gate for the tokens of a test."""
    with gates.Gate() as made:
        yield made


async def arrived(gate, count=1):
    """Wait for tokens to come to the gate while the loop goes on."""
    return await asyncio.to_thread(gate.arrivals, count)


def waiting(coordinator):
    """How many tokens wait or are on their way to the gate."""
    tokens = coordinator.get_stats()["tokens"]
    return tokens["created"] + tokens["waiting"]


def test_paused_admission_sends_nothing(gate):
    """Calls are taken and wait; resumed, they run in the order of the calls."""

    async def main():
        async with OperationsCoordinator(cores=1, threads_per_core=1) as c:
            await work.echo(0)
            c.pause_admission()
            assert c.get_stats()["admission"] == {"paused": True}
            tokens = [work.echo(n) for n in range(100)]
            await asyncio.sleep(0)
            assert waiting(c) == 100
            c.resume_admission()
            assert await asyncio.gather(*tokens) == list(range(100))
            starts = [token.timing.started for token in tokens]
            assert starts == sorted(starts)
            assert c.get_stats()["admission"] == {"paused": False}

    asyncio.run(main())


def test_a_paused_operation_holds_up_no_other():
    """Its waiting tokens, also later ones and of other weights, stay; others pass them."""

    async def main():
        async with OperationsCoordinator(cores=2) as c:
            c.pause_admission()
            before = [work.echo(n) for n in range(50)]
            others = [work.square(n) for n in range(50)]
            c.pause_operation("echo")
            c.pause_operation("echo")
            after = [work.echo.options(weight="heavy")(n) for n in range(50)]
            c.resume_admission()
            assert await asyncio.gather(*others) == [n * n for n in range(50)]
            assert c.get_stats()["operations"]["echo"]["paused"] is True
            assert waiting(c) == 100
            assert not any(token.done() for token in [*before, *after])
            before[7].kill()
            c.resume_operation("echo")
            c.resume_operation("never called")
            del before[7]
            assert await asyncio.gather(*before, *after) == [
                *(n for n in range(50) if n != 7),
                *range(50),
            ]
            assert c.get_stats()["operations"]["echo"]["paused"] is False

    asyncio.run(main())


def test_draining_ends_what_waits_and_nothing_else(gate):
    """Waiting tokens end as killed and are counted; what runs goes on."""

    async def main():
        async with OperationsCoordinator(cores=1, threads_per_core=1) as c:
            running = work.gated(gate.address, "runs")
            await arrived(gate)
            c.pause_admission()
            echoes = [work.echo(n) for n in range(20)]
            squares = [work.square(n) for n in range(20)]
            assert c.drain_operation("echo") == 20
            assert c.drain_operation("echo") == 0
            assert c.drain_pool() == 20
            for token in [*echoes, *squares]:
                with pytest.raises(TokenKilled, match="drained"):
                    await token
            gate.open()
            assert await running == "runs"
            c.resume_admission()
            assert await work.echo(1) == 1
            assert c.get_stats()["tokens"]["killed"] == 40

    asyncio.run(main())


def test_killing_an_operation_ends_running_and_waiting_tokens(gate):
    """All its tokens end, their functions too, and no other operation's."""

    async def main():
        async with OperationsCoordinator(cores=2, threads_per_core=1, grace=20) as c:
            spinning = [work.spinning(gate.address) for _ in range(2)]
            await arrived(gate, 2)
            more = [work.spinning(gate.address) for _ in range(30)]
            squares = [work.square(n) for n in range(30)]
            assert c.kill_all_by_operation("spinning", "no more") == 32
            for token in [*spinning, *more]:
                with pytest.raises(TokenKilled, match="no more"):
                    await token
            assert await asyncio.gather(*squares) == [n * n for n in range(30)]
            assert c.kill_all_by_operation("spinning") == 0

    asyncio.run(main())


def test_a_token_is_killed_by_its_id(gate):
    """The id that a token shows is enough to end it, once, from any thread."""

    async def main():
        async with OperationsCoordinator(cores=1, grace=20) as c:
            token = work.spinning(gate.address)
            await arrived(gate)
            assert not c.kill_token("nonsense")
            assert not c.kill_token(token.token_id + "0")
            assert await asyncio.to_thread(c.kill_token, token.token_id, "from a thread")
            with pytest.raises(TokenKilled, match="from a thread"):
                await token
            assert not c.kill_token(token.token_id)

    asyncio.run(main())


@task_token_guard(operation_type="fails")
def fail() -> None:
    """Fail."""
    raise ValueError("as it should")


def test_of_many_killed_at_once_only_as_many_are_described_as_are_remembered(monkeypatch):
    """The latest of them, in their order; and every one of them is told."""
    described = []
    note_error = History.note_error

    def describe(self, token, error):
        described.append(token)
        note_error(self, token, error)

    monkeypatch.setattr(History, "note_error", describe)

    async def main():
        async with OperationsCoordinator(cores=1) as c:
            c.pause_admission()
            for kill in (c.drain_pool, lambda: c.kill_all_by_operation("echo")):
                described.clear()
                tokens = [work.echo(number) for number in range(HISTORY + 500)]
                assert kill() == len(tokens)
                assert described == tokens[-HISTORY:]
                recent = c.get_recent_executions(HISTORY)
                assert [each["token_id"] for each in recent] == [
                    t.token_id for t in described[::-1]
                ]
                errors = await asyncio.gather(*tokens, return_exceptions=True)
                assert {type(error) for error in errors} == {TokenKilled}

    asyncio.run(main())


def test_the_history_tells_what_became_of_tokens(tmp_path, gate):
    """Ended tokens are listed, latest first, with state, times and error; a file takes them all."""

    async def main():
        c = OperationsCoordinator(cores=1, grace=20)
        with pytest.raises(CoordinatorNotRunning):
            c.get_recent_executions()
        async with c:
            assert c.get_recent_executions() == []
            good = work.echo(1)
            await good
            bad = fail()
            with pytest.raises(ValueError, match="as it should"):
                await bad
            killed = work.spinning(gate.address)
            await arrived(gate)
            killed.kill("enough")
            latest, failed, first = c.get_recent_executions()
            assert (latest["token_id"], latest["state"]) == (killed.token_id, "killed")
            assert "enough" in latest["error"]
            assert (failed["operation_type"], failed["state"]) == ("fails", "failed")
            assert failed["error"] == "ValueError: as it should"
            assert first == {
                "token_id": good.token_id,
                "operation_type": "echo",
                "weight": "medium",
                "tags": {},
                "state": "completed",
                "core": 1,
                **good.timing._asdict(),
                "error": None,
            }
            assert c.get_recent_executions(1) == [latest]
            with pytest.raises(ValueError, match="from 0 to"):
                c.get_recent_executions(-1)
            await asyncio.gather(*map(work.echo, range(3000)))
            assert c.dump_execution_history(tmp_path / "history.jsonl") == 1024
            recent = c.get_recent_executions(9999)
        lines = (tmp_path / "history.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == recent[::-1]
        assert c.get_recent_executions(9999) == recent, "also after the end"

    asyncio.run(main())


def test_controls_need_a_running_coordinator():
    """Before the start and after the end there is nothing to control, and that is said."""
    c = OperationsCoordinator(cores=1)
    controls = [
        lambda: c.kill_token("x"),
        lambda: c.kill_all_by_operation("x"),
        c.pause_admission,
        c.resume_admission,
        c.drain_pool,
        lambda: c.pause_operation("x"),
        lambda: c.resume_operation("x"),
        lambda: c.drain_operation("x"),
    ]
    for control in controls:
        with pytest.raises(CoordinatorNotRunning, match="not running"):
            control()
    with c:
        assert c.drain_pool() == 0
    for control in controls:
        with pytest.raises(CoordinatorNotRunning, match="not running"):
            control()


def test_controls_from_a_plain_script():
    """Without a loop of one's own they work the same."""
    with OperationsCoordinator(cores=1) as c:
        c.pause_operation("echo")
        token = work.echo(5)
        assert work.square(3).get(20) == 9
        assert c.drain_operation("echo") == 1
        with pytest.raises(TokenKilled):
            token.get(20)


def test_the_users_own_tags_show_wherever_tokens_do(tmp_path):
    """In the stats of the operation, the history, its file, and the token's status."""
    colour = object()
    painted = work.echo.options(operation_type="painted", tags={"team": "blue", "colour": colour})

    async def main():
        async with OperationsCoordinator(cores=1) as c:
            token = painted(1)
            await token
            tags = {"team": "blue", "colour": colour}
            assert token.get_status()["tags"] == tags
            assert c.get_stats()["operations"]["painted"]["tags"] == tags
            assert c.get_recent_executions(1)[0]["tags"] == tags
            c.dump_execution_history(tmp_path / "history.jsonl")
            (line,) = (tmp_path / "history.jsonl").read_text(encoding="utf-8").splitlines()
            assert json.loads(line)["tags"] == {"team": "blue", "colour": repr(colour)}

    asyncio.run(main())
