"""What an executor tells of itself: statistics at any time, history, and its label."""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import wait

import gates
import pytest
import scripts
import work

from tokengate_mp import OperationsCoordinator, TokenGateExecutor


def test_before_the_first_call_all_counts_are_zero():
    """The keys are those of later, and no process is started for the question."""
    with TokenGateExecutor(2) as executor:
        before = executor.get_stats()
        assert json.loads(json.dumps(before)) == before
        assert [core["core"] for core in before["cores"]] == [1, 2]
        assert not any(core["alive"] or core["pid"] for core in before["cores"])
        assert set(before["tokens"].values()) == {0}
        assert before["operations"] == {}
        assert executor.get_recent_executions() == []
        assert "not started" in repr(executor)
        assert executor.submit(abs, -1).result(20) == 1
        after = executor.get_stats()
        assert after.keys() == before.keys()
        assert after["tokens"].keys() == before["tokens"].keys()
        assert after["cores"][0].keys() == before["cores"][0].keys()


def test_the_keys_are_those_of_a_coordinator_and_the_label():
    """An executor says nothing less."""
    with OperationsCoordinator(cores=1) as coordinator, TokenGateExecutor(1) as executor:
        executor.submit(abs, -1).result(20)
        assert executor.get_stats().keys() == {"label", *coordinator.get_stats()}


def test_calls_are_counted_by_operation():
    """A call is a token, running or waiting, under the function's name."""
    with gates.Gate() as gate, TokenGateExecutor(1) as executor:
        running = executor.submit(work.gated.__wrapped__, gate.address)
        gate.arrivals()
        waiting = executor.submit(abs, -1)
        stats = executor.get_stats()
        assert stats["tokens"]["executing"] == 1
        assert sum(stats["tokens"].values()) == 2
        assert stats["cores"][0]["alive"]
        assert stats["cores"][0]["pid"] not in {None, os.getpid()}
        gate.open()
        wait([running, waiting], 20)
        stats = executor.get_stats()
        assert stats["tokens"]["completed"] == 2
        assert stats["operations"]["builtins.abs"]["counts"]["completed"] == 1


def test_after_shutdown_the_counts_of_the_end_remain():
    """No core is alive, and nothing that was counted is lost."""
    executor = TokenGateExecutor(2)
    assert list(executor.map(abs, range(100))) == list(range(100))
    with pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 1, 0).result(20)
    before = executor.get_stats()
    executor.shutdown()
    after = executor.get_stats()
    assert after["tokens"] == before["tokens"]
    assert after["tokens"]["failed"] == 1
    assert not any(core["alive"] or core["pid"] for core in after["cores"])
    assert executor.get_recent_executions(1)[0]["operation_type"] == "builtins.divmod"
    assert "shut down" in repr(executor)


def test_history_goes_to_a_file(tmp_path):
    """A line of JSON for each call, as a coordinator's."""
    path = tmp_path / "history"
    with TokenGateExecutor(1) as executor:
        assert executor.dump_execution_history(path) == 0
        executor.submit(abs, -1).result(20)
        assert executor.dump_execution_history(path) == 1
    assert json.loads(path.read_bytes())["state"] == "completed"


def test_from_a_thread_and_from_a_callback():
    """Also from a callback of a future, which runs where the executor's engine does."""
    with TokenGateExecutor(1) as executor:
        told, called = [], threading.Event()

        def look(_future):
            told.append(executor.get_stats())
            called.set()

        future = executor.submit(abs, -1)
        future.add_done_callback(look)
        assert called.wait(20)
        assert told[0]["tokens"]["completed"] == 1


def test_in_a_fork_there_is_nothing_to_count(tmp_path):
    """The calls are the parent's, and asking for them does not wait for its loop."""
    code = """
        import os
        import warnings
        from tokengate_mp import TokenGateExecutor
        warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads, from 3.12 on
        if __name__ == "__main__":
            with TokenGateExecutor(1) as executor:
                executor.submit(abs, -1).result(20)
                child = os.fork()
                if not child:
                    print(sum(executor.get_stats()["tokens"].values()), flush=True)
                    os._exit(0)
                os.waitpid(child, 0)
                print(executor.get_stats()["tokens"]["completed"])
    """
    assert scripts.output(tmp_path / "forks.py", code) == "0\n1\n"


def test_a_label_is_shown():
    """In `repr` and in statistics; it has to be a str."""
    with TokenGateExecutor(1, label="thumbnails") as executor:
        assert repr(executor) == "<TokenGateExecutor 'thumbnails': max_workers=1, not started>"
        assert executor.label == executor.get_stats()["label"] == "thumbnails"
        executor.submit(abs, -1).result(20)
        assert repr(executor) == "<TokenGateExecutor 'thumbnails': max_workers=1, running>"
    assert TokenGateExecutor(1).label == ""
    with pytest.raises(TypeError, match="label must be a str, not bytes"):
        TokenGateExecutor(1, label=b"thumbnails")
