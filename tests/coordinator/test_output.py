"""What functions print and log arrives in the parent, whoever listens there, and harms nobody."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import logging
import re
import signal
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import scripts
import speech
import work
from gates import Gate

from tokengate_mp import (
    CoordinatorNotRunning,
    OperationsCoordinator,
    TokenGateExecutor,
    TokenKilled,
    WorkerLost,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class Heard(logging.Handler):
    """Keeps the records that come from core processes."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        if hasattr(record, "tokengate_core"):
            self.records.append(record)


@pytest.fixture
def heard() -> Iterator[Heard]:
    """A handler at the root logger, and INFO as the level of the loggers under `speech`."""
    handler = Heard()
    logging.getLogger().addHandler(handler)
    logging.getLogger("speech").setLevel(logging.INFO)
    yield handler
    logging.getLogger("speech").setLevel(logging.NOTSET)
    logging.getLogger().removeHandler(handler)


# ---- printing


def test_print_reaches_what_has_taken_the_place_of_stdout(run):
    """redirect_stdout and redirect_stderr get what a token prints before the token resolves."""

    async def main():
        out, err = io.StringIO(), io.StringIO()
        async with OperationsCoordinator(cores=2):
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                for n in range(20):
                    await speech.prints(f"out {n}", f"err {n}")
                    assert out.getvalue().count("\n") == n + 1
        assert out.getvalue() == "".join(f"out {n}\n" for n in range(20))
        assert err.getvalue() == "".join(f"err {n}\n" for n in range(20))

    run(main)


def test_with_the_loop_in_a_thread(capsys):
    """The same where the coordinator has a thread of its own, and with pytest's capsys."""
    with OperationsCoordinator(cores=1):
        speech.prints("to out", "to err").get(20)
        assert capsys.readouterr() == ("to out\n", "to err\n")


def test_with_the_executor(capsys):
    """The same with an executor; and its initializer may print and log as well."""
    with TokenGateExecutor(1, initializer=speech.greet, initargs=("hello",)) as executor:
        executor.submit(print, "from a call").result(20)
        assert capsys.readouterr().out == "hello\nfrom a call\n"


def test_lines_of_processes_and_threads_are_never_torn():
    """However they are printed, in pieces or at length, lines come out whole."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), OperationsCoordinator(cores=2) as coordinator:
        tokens = [coordinator.submit(speech.chatter, name, 60) for name in "abcd"]
        for token in tokens:
            token.get(30)
    lines = out.getvalue().splitlines()
    assert sorted(lines) == sorted(
        line for name in "abcd" for line in speech.chatter_lines(name, 60)
    )


def test_threads_of_a_token_print_whole_lines():
    """Threads that print their lines in two pieces do not mix them."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), OperationsCoordinator(cores=1) as coordinator:
        coordinator.submit(speech.print_in_threads, 8, 50).get(30)
    lines = out.getvalue().splitlines()
    assert sorted(lines) == sorted(f"{name} and {name}" for name in range(8) for _ in range(50))


def test_a_line_without_an_end(capsys):
    """It is held back for its end, and comes at the latest when everything has ended."""
    with OperationsCoordinator(cores=1) as coordinator:
        coordinator.submit(print, "one", end="", flush=True).get(20)
        coordinator.submit(print, "two", end="").get(20)
        coordinator.submit(print, " ends", flush=True).get(20)
        assert capsys.readouterr().out == "onetwo ends\n"
        coordinator.submit(print, "flushed", end="", flush=True).get(20)
        assert capsys.readouterr().out == ""
        asyncio.run(coordinator.join())
        assert capsys.readouterr().out == "flushed"
        coordinator.submit(print, "left", end="").get(20)
    assert capsys.readouterr().out == "left"


def test_what_is_left_by_a_token_that_still_runs(capsys):
    """stop() in the middle of a token loses nothing that it printed, nor its last line."""
    with Gate() as gate, OperationsCoordinator(cores=1) as coordinator:
        coordinator.submit(speech.print_and_wait, "printed\nbegun", gate.address)
        gate.arrivals()
        coordinator.stop()
    assert capsys.readouterr().out == "printed\nbegun"


def test_a_token_that_closes_its_stdout(capsys):
    """It harms itself alone."""
    with Gate() as gate, OperationsCoordinator(cores=1) as coordinator:
        coordinator.submit(speech.close_stdout).get(20)
        with pytest.raises(ValueError, match="closed file"):
            coordinator.submit(print, "too late").get(20)
        coordinator.submit(speech.print_and_wait, "", gate.address, "stderr")
        gate.arrivals()
        coordinator.stop()
    assert capsys.readouterr().out == ""


def test_bytes_and_strange_text(capsys):
    """`sys.stdout.buffer`, other alphabets, lone surrogates, and bytes that are no text."""
    with OperationsCoordinator(cores=1) as coordinator:
        coordinator.submit(speech.write_bytes, "größer\n".encode() + b"\xff\n").get(20)
        coordinator.submit(print, "数 \ud800").get(20)
        assert capsys.readouterr().out == "größer\n\ufffd\n数 \\ud800\n"


def test_a_stdout_that_knows_fewer_letters():
    """What the parent's stdout cannot encode is escaped."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, "ascii", write_through=True)
    with contextlib.redirect_stdout(out), OperationsCoordinator(cores=1) as coordinator:
        coordinator.submit(print, "größer").get(20)
    assert raw.getvalue() == b"gr\\xf6\\xdfer\n"


def test_a_stdout_that_takes_nothing():
    """A closed, missing or broken sys.stdout harms no token; what it refuses is counted."""

    class Broken(io.StringIO):
        def write(self, text):
            raise RuntimeError(text)

    closed = io.StringIO()
    closed.close()
    with OperationsCoordinator(cores=1) as coordinator:
        for count, out in enumerate([closed, Broken()], 1):
            with contextlib.redirect_stdout(out):
                coordinator.submit(print, "heard by nobody").get(20)
            assert coordinator.get_stats()["cores"][0]["dropped"] == count
        with contextlib.redirect_stdout(None):
            coordinator.submit(print, "heard by nobody").get(20)
        assert work.square(4).get(20) == 16


def test_what_bypasses_python(tmp_path):
    """C code, commands and forks write to where the parent's output goes, as they always did."""
    code = """
        import os, subprocess, sys, faulthandler
        from tokengate_mp import OperationsCoordinator

        def bypass():
            os.write(1, b"by descriptor\\n")
            subprocess.run(["echo", "by a command"], check=True)
            subprocess.run(["echo", "into sys.stdout"], check=True, stdout=sys.stdout)
            faulthandler.dump_traceback(file=sys.stderr)

        with OperationsCoordinator(cores=1) as coordinator:
            coordinator.submit(bypass).get()
    """
    done = scripts.run(scripts.command(tmp_path / "bypass.py", code))
    assert done.stdout == "by descriptor\nby a command\ninto sys.stdout\n"
    assert "in bypass" in done.stderr


def test_a_crash_is_still_seen(tmp_path):
    """What faulthandler writes when a core process crashes is on the parent's stderr."""
    code = """
        import signal, work
        from tokengate_mp import OperationsCoordinator, WorkerLost

        with OperationsCoordinator(cores=1) as coordinator:
            try:
                work.die(signal.SIGSEGV).get()
            except WorkerLost:
                print("lost")
    """
    python, *rest = scripts.command(tmp_path / "crash.py", code)
    done = scripts.run([python, "-Xfaulthandler", *rest])
    assert done.stdout == "lost\n"
    assert "Segmentation fault" in done.stderr
    assert "in die" in done.stderr


def test_inherit(tmp_path):
    """output="inherit" is past what has taken the place of sys.stdout; records still come."""
    code = """
        import contextlib, io, logging
        import speech
        from tokengate_mp import OperationsCoordinator

        logging.basicConfig(level="INFO", format="%(tokengate_core)s %(message)s",
                            handlers=[logging.StreamHandler(records := io.StringIO())])
        with OperationsCoordinator(cores=1, output="inherit") as coordinator:
            with contextlib.redirect_stdout(io.StringIO()) as caught:
                coordinator.submit(print, "straight", flush=True).get()
                coordinator.submit(speech.log, "speech", 20, "logged").get()
        assert caught.getvalue() == ""
        assert "1 logged" in records.getvalue(), records.getvalue()
    """
    assert scripts.output(tmp_path / "inherits.py", code) == "straight\n"


def test_only_these_two():
    """Another value of `output` is refused at once."""
    with pytest.raises(ValueError, match="output must be"):
        OperationsCoordinator(output="nowhere")


# ---- logging


def test_a_record_arrives_as_it_was(heard):
    """Name, level, message, time, process, thread, place, extras, and which token it was."""
    begun = time.time()
    with OperationsCoordinator(cores=1, threads_per_core=1) as coordinator:
        token = speech.logs("the %s of %d", ("answer", 42))
        token.get(20)
        (record,) = heard.records
        pid = coordinator.get_stats()["cores"][0]["pid"]
    assert (record.name, record.levelno, record.levelname) == ("speech.deep", 30, "WARNING")
    assert record.getMessage() == "the answer of 42"
    assert (record.process, record.threadName) == (pid, "MainThread")
    assert (record.funcName, record.filename) == ("logs", "speech.py")
    assert record.tokengate_core == 1
    assert record.tokengate_token == token.token_id
    assert record.tokengate_operation == "speech.logs"
    assert record.colour == "blue"
    assert record.pair == (1, {2})
    assert begun <= record.created <= time.time()
    assert 0 < record.relativeCreated < 1e3 * 3600


def test_the_traceback_comes_along(heard):
    """`logger.exception` arrives with its traceback as text, of any exception."""
    with OperationsCoordinator(cores=1) as coordinator:
        coordinator.submit(speech.log_exception).get(20)
    (record,) = heard.records
    assert record.exc_info is None
    assert "Unpicklable: no way" in logging.Formatter().format(record)
    assert "in log_exception" in record.exc_text


def test_what_the_parent_would_not_show_is_not_made(heard):
    """Below the level of its logger in the parent, a record is not even formatted."""
    logging.getLogger("speech.loud").setLevel(logging.ERROR)
    try:
        with OperationsCoordinator(cores=1) as coordinator:
            for name, level in [("speech", 10), ("speech.loud", 30), ("other", 20)]:
                assert not coordinator.submit(speech.log_costly, name, level).get(20)
            for name, level in [("speech.x", 20), ("speech.loud.x", 40), ("other", 30)]:
                assert coordinator.submit(speech.log_costly, name, level).get(20)
            # What has become stricter since is heeded here.
            logging.getLogger("other").setLevel(logging.ERROR)
            coordinator.submit(speech.log_costly, "other", 30).get(20)
    finally:
        logging.getLogger("speech.loud").setLevel(logging.NOTSET)
        logging.getLogger("other").setLevel(logging.NOTSET)
    assert [record.name for record in heard.records] == ["speech.x", "speech.loud.x", "other"]


def test_logging_disabled_here_is_disabled_there(heard):
    """logging.disable() holds in core processes that are started after."""
    logging.disable(logging.WARNING)
    try:
        with OperationsCoordinator(cores=1) as coordinator:
            assert not coordinator.submit(speech.log_costly, "speech", 30).get(20)
            assert coordinator.submit(speech.log_costly, "speech", 40).get(20)
    finally:
        logging.disable(logging.NOTSET)
    assert len(heard.records) == 1


def test_records_that_will_not_encode(heard):
    """Extras go by their text where they must, and arguments that do not fit are shown."""
    with OperationsCoordinator(cores=1) as coordinator:
        coordinator.submit(speech.log_strange_extras).get(20)
        coordinator.submit(speech.log, "speech", 20, "%d \ud800", "no number").get(20)
        coordinator.submit(speech.log, "speech", 20, "x" * (3 << 20)).get(20)
    strange, misfit, long = heard.records
    assert strange.getMessage() == "strange"
    assert strange.lock.startswith("<unlocked _thread.lock")
    assert (strange.large, strange.surrogate) == (1 << 80, "\ud800")
    assert strange.broken == "<NoRepr>"
    assert vars(strange)["7"] == "no name"
    assert strange.elsewhere.startswith("<cannot be loaded in this process: ")
    assert misfit.getMessage().startswith("%d \\ud800 (its arguments ('no number',) do not fit: ")
    assert long.getMessage().endswith("x … (3145728 characters)")
    assert long.tokengate_core == 1


def test_handlers_that_raise(heard, capsys):
    """One that raises is reported as `logging` reports it, and the coordinator goes on."""

    class Raising(logging.Handler):
        def emit(self, record):
            raise RuntimeError("not today")

    raising = Raising()
    logging.getLogger("speech").addHandler(raising)
    try:
        with OperationsCoordinator(cores=1) as coordinator:
            coordinator.submit(speech.log, "speech", 20, "heard %s", "twice").get(20)
            complaint = capsys.readouterr().err
            assert work.square(3).get(20) == 9
            logging.raiseExceptions = False
            coordinator.submit(speech.log, "speech", 20, "silent").get(20)
    finally:
        logging.raiseExceptions = True
        logging.getLogger("speech").removeHandler(raising)
    assert "RuntimeError: not today" in complaint
    assert "heard twice" in complaint
    assert capsys.readouterr().err == ""


def test_a_handler_that_makes_tokens(caplog):
    """A handler may call decorated functions, and stop the coordinator."""
    made = []
    all_made = threading.Event()  # they are heard for 2 ms at a time, also beyond the outcome

    class Making(logging.Handler):
        def emit(self, record):
            if record.getMessage() == "stop":
                coordinator.stop()
            else:
                made.append(work.square(len(made)))
                if len(made) == 200:
                    all_made.set()

    making = Making()
    logging.getLogger("speech").addHandler(making)
    logging.getLogger("speech").setLevel(logging.INFO)
    try:
        coordinator = OperationsCoordinator(cores=2).start()
        coordinator.submit(speech.log_often, 200).get(20)
        assert all_made.wait(20)
        assert [token.get(20) for token in made] == [n * n for n in range(200)]
        with pytest.raises(TokenKilled):
            coordinator.submit(speech.log, "speech", 20, "stop").get(20)
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    finally:
        logging.getLogger("speech").setLevel(logging.NOTSET)
        logging.getLogger("speech").removeHandler(making)
        coordinator.stop()


class Stopping(logging.Handler):
    """Stops a coordinator at the first record that comes from a core process."""

    def __init__(self, coordinator):
        super().__init__()
        self.coordinator = coordinator

    def emit(self, record):
        if hasattr(record, "tokengate_core"):
            self.coordinator.stop()


@pytest.fixture
def stopping() -> Iterator[Stopping]:
    """A coordinator with one core, and a handler that stops it."""
    handler = Stopping(OperationsCoordinator(cores=1))
    logging.getLogger("speech").addHandler(handler)
    yield handler
    logging.getLogger("speech").removeHandler(handler)


def test_a_handler_that_stops_in_the_middle_of_a_turn(stopping, caplog):
    """What was heard before outcomes are settled may end everything: the turn breaks off."""

    async def main():
        with Gate() as gate:
            stopping.coordinator.start()
            await work.square(1)
            token = stopping.coordinator.submit(speech.log_and_report, gate.address)
            await asyncio.sleep(0)
            gate.arrivals()  # the loop does not run from here on: turns are taken within calls
            with pytest.raises(CoordinatorNotRunning):
                deque(map(work.square, itertools.count()), maxlen=0)
            with pytest.raises(TokenKilled):
                await token

    asyncio.run(main())
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_handler_that_stops_at_the_last_words_of_a_process(stopping, caplog):
    """No other process is started in the place of one whose last words ended everything."""

    async def main():
        with Gate() as gate:
            stopping.coordinator.start()
            await work.square(1)
            token = stopping.coordinator.submit(speech.log_and_die, gate.address)
            await asyncio.sleep(0)
            gate.arrivals()
            asyncio.get_running_loop().remove_reader(
                stopping.coordinator._run.engine._backend.links[1].launched.voice
            )
            with pytest.raises((TokenKilled, WorkerLost)):
                await token

    asyncio.run(main())
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_child_tokens_and_threads(heard):
    """Records of tokens made inside tokens say which; those of a user's threads do not know."""
    with OperationsCoordinator(cores=1) as coordinator:
        speech.lead(3).get(20)
        coordinator.submit(speech.log_in_a_thread).get(20)
    *inner, outer, threaded = heard.records
    assert {record.tokengate_operation for record in inner} == {"speech.inner"}
    assert len({record.tokengate_token for record in inner}) == 3
    assert outer.tokengate_operation == "speech.lead"
    assert (threaded.tokengate_token, threaded.threadName) == (None, "the user's")


def test_records_and_lines_in_order(heard):
    """In one process, records come before the lines that were printed after them."""
    seen = []

    class Out(io.StringIO):
        def write(self, text):
            seen.extend(text.split())
            return len(text)

    heard.emit = lambda record: seen.append(record.getMessage())
    with contextlib.redirect_stdout(Out()), OperationsCoordinator(cores=1) as coordinator:
        coordinator.submit(speech.alternate, 500).get(20)
    assert seen == [f"{what}{n}" for n in range(500) for what in ("logged", "printed")]


# ---- ends, floods, forks


def test_last_words(heard, capsys):
    """What was printed and logged before a SIGKILL, or a sudden exit, arrives before the error."""
    with OperationsCoordinator(cores=1) as coordinator:
        for how in (signal.SIGKILL, 3):
            with pytest.raises(WorkerLost):
                coordinator.submit(speech.say_and_die, how).get(20)
            assert capsys.readouterr().out == "".join(f"line {n}\n" for n in range(100))
            assert len(heard.records) == 100
            heard.records.clear()
        assert work.square(2).get(20) == 4


@pytest.mark.parametrize(
    ("how", "size"), [("at once", 50_000_000), ("in lines", 5_000_000), ("in records", 50_000_000)]
)
def test_a_flood_while_the_parent_does_nothing(how, size, heard, capsys):
    """What a token says while the loop is blocked is dropped, counted, and warned of once."""

    async def main():
        with Gate() as gate:
            async with OperationsCoordinator(cores=1, threads_per_core=1) as coordinator:
                await work.square(1)
                token = coordinator.submit(speech.flood, how, size, gate.address)
                await asyncio.sleep(0)
                gate.arrivals()  # blocks the loop until all has been said
                gate.open()
                await token
                assert await coordinator.submit(speech.flood, "in lines", 100, None) is None
                (core,) = coordinator.get_stats()["cores"]
                assert core["restarts"] == 0
                return core["dropped"]

    warnings = Heard()
    warnings.emit = warnings.records.append
    logging.getLogger("tokengate_mp.worker").addHandler(warnings)
    try:
        assert asyncio.run(main()) > 0
    finally:
        logging.getLogger("tokengate_mp.worker").removeHandler(warnings)
    (warning,) = warnings.records
    assert warning.levelno == logging.WARNING
    assert '"dropped"' in warning.getMessage()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "x" * 99  # and afterwards it is heard again


def test_a_flood_that_is_listened_to():
    """While the parent reads, nothing is lost: who says more than it takes waits a little."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), OperationsCoordinator(cores=1) as coordinator:
        coordinator.submit(speech.flood, "in lines", 5_000_000, None).get(40)
        dropped = coordinator.get_stats()["cores"][0]["dropped"]
    assert len(out.getvalue()) == 5_000_000
    assert dropped == 0


def test_a_flood_leaves_the_loop_free(run):
    """While a core says more than is taken in, the loop goes on, and other tokens end."""

    async def main():
        with Gate() as gate, contextlib.redirect_stdout(io.StringIO()):
            async with OperationsCoordinator(cores=2) as coordinator:
                flood = coordinator.submit(speech.flood_until, gate.address)
                await asyncio.to_thread(gate.arrivals)
                assert [await work.square(n) for n in range(20)] == [n * n for n in range(20)]
                gate.open()
                await flood

    run(main)


def test_a_token_that_is_ended_while_it_prints():
    """It ends at once, its process goes on, and every line that came is one that it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), OperationsCoordinator(cores=1) as coordinator:
        with Gate() as gate:
            for _ in range(20):
                token = coordinator.submit(speech.print_for_ever, gate.address)
                gate.arrivals()
                token.kill("enough")
                with pytest.raises(TokenKilled):
                    token.get(20)
        coordinator.submit(print, "\nlast").get(20)
        assert coordinator.get_stats()["cores"][0]["restarts"] == 0
    whole = re.compile(r"piece (\d+) and piece \1")
    lines = out.getvalue().splitlines()
    # Where it was ended between its two pieces, the next one's first line continues that line.
    assert sum(not whole.fullmatch(line) for line in lines) <= 20 + 2


def test_forks_of_a_token(heard, capsys):
    """What a fork of a core process prints and logs arrives, and ends nothing when it ends."""
    with OperationsCoordinator(cores=1) as coordinator:
        pid = coordinator.submit(speech.speak_in_a_fork).get(20)
        asyncio.run(coordinator.join())
        assert capsys.readouterr().out.splitlines() == ["parent first", "fork", "parent last"]
        assert [record.process == pid for record in heard.records] == [False, True, False]


def test_a_fork_that_outlives_its_core(tmp_path):
    """What it prints after the core's end goes to where the parent's output goes."""
    code = """
        import speech
        from tokengate_mp import OperationsCoordinator

        with OperationsCoordinator(cores=1) as coordinator:
            coordinator.submit(speech.fork_and_wait).get()
    """
    done = scripts.run(scripts.command(tmp_path / "outlives.py", code))
    assert done.stdout.splitlines() == ["after the end"]


# ---- what it costs


def test_logging_is_not_loaded_for_it(tmp_path):
    """A core process loads `logging` when a function needs it, and is ready for it then."""
    code = """
        import speech
        from tokengate_mp import OperationsCoordinator

        with OperationsCoordinator(cores=1) as coordinator:
            coordinator.submit(print, "x").get()
            assert not coordinator.submit(speech.logging_is_loaded).get()
            assert coordinator.submit(speech.find_logging).get()
            print(coordinator.submit(speech.import_logging).get())
    """
    assert scripts.output(tmp_path / "loads.py", code) == "x\n['ForwardingHandler']\n"


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_is_left_open():
    """After lines, killed processes and stops no descriptor or thread is left."""
    before, threads = _descriptors(), threading.active_count()
    for _ in range(3):
        with contextlib.redirect_stdout(io.StringIO()), OperationsCoordinator(cores=2) as running:
            running.submit(speech.flood, "in lines", 100_000, None).get(20)
            with pytest.raises(WorkerLost):
                work.die(signal.SIGKILL).get(20)
    assert _descriptors() == before
    assert threading.active_count() == threads
