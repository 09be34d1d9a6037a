"""Ctrl-C while something is started or stopped, in a program that goes on after it."""

from __future__ import annotations

import asyncio
import signal

import pytest
from scripts import command, run

from tokengate_mp import OperationsCoordinator, PayloadError, task_token_guard

_ROUNDS = """
    import asyncio, os, random, signal, subprocess, sys, tempfile, time
    import psutil
    from tokengate_mp import OperationsCoordinator, TokenGateExecutor
    import work

    def plain():
        with OperationsCoordinator(cores=2):
            return [work.square(n).get(10) for n in range(3)]

    def executor():
        with TokenGateExecutor(2) as pool:
            return list(pool.map(abs, range(3)))

    def in_a_loop():
        async def main():
            async with OperationsCoordinator(cores=2):
                return await asyncio.gather(*map(work.square, range(3)))
        return asyncio.run(main())

    SEND = (
        "import os, signal, sys, time\\n"
        "for line in sys.stdin:\\n"
        "    time.sleep(float(line)); os.kill(os.getppid(), signal.SIGINT); os.write(1, b'x')"
    )
    once()
    begun = time.monotonic()
    once()
    usual = time.monotonic() - begun
    sent = tempfile.TemporaryFile()  # a byte for each
    sender = subprocess.Popen(
        [sys.executable, "-c", SEND],
        stdin=subprocess.PIPE, stdout=sent,
    )
    descriptors = os.listdir("/proc/self/fd")
    interrupted = 0
    for turn in range(15):
        try:
            sender.stdin.write(b"%f\\n" % random.uniform(0, usual))
            sender.stdin.flush()
            once()
        except KeyboardInterrupt:
            interrupted += 1
        while os.fstat(sent.fileno()).st_size <= turn:
            try:
                time.sleep(0.01)
            except KeyboardInterrupt:
                interrupted += 1
    sender.stdin.close()
    sender.wait()
    descriptors.pop()  # the sender's
    once()  # nothing is in the way of the next
    # What was forgotten by a generator or a future ends with it; processes are waited for.
    deadline = time.monotonic() + 10
    while psutil.Process().children() and time.monotonic() < deadline:
        time.sleep(0.05)
    print(interrupted > 0, psutil.Process().children(),
          len(os.listdir("/proc/self/fd")) - len(descriptors))
"""


@pytest.mark.parametrize("once", ["plain", "executor", "in_a_loop"])
def test_a_program_that_goes_on_after_it_has_lost_nothing(tmp_path, once):
    """Wherever in a start or stop Ctrl-C comes: no process stays, and the next start works."""
    code = _ROUNDS.replace("once()", f"{once}()")
    ended = run(command(tmp_path / "script.py", code))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["True", "[]", "0"], ended.stdout + ended.stderr


class Interrupting:
    """What presses Ctrl-C when it is loaded."""

    def __reduce__(self):
        return signal.raise_signal, (signal.SIGINT,)


@task_token_guard(operation_type="interrupting")
def interrupting(number: int) -> object:
    """Give something that has to be pickled; once, something that presses Ctrl-C."""
    if number == 70:
        return Interrupting()
    if number == 90:
        raise LookupError(number)
    return [number]


def test_ctrl_c_while_a_result_is_loaded_costs_no_other():
    """The loop is run again, and has them all; that one says what has happened to it."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()

        async def begin():
            coordinator = OperationsCoordinator(cores=1).start()
            return coordinator, [interrupting(n) for n in range(200)]

        coordinator, tokens = loop.run_until_complete(begin())
        ending = asyncio.gather(*tokens, return_exceptions=True)
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(ending)
        results = loop.run_until_complete(ending)
        coordinator.stop()
    assert isinstance(results[70], PayloadError)
    assert "Ctrl-C" in str(results[70])
    assert isinstance(results[90], LookupError)
    others = [n for n in range(200) if n not in {70, 90}]
    assert [results[n] for n in others] == [[n] for n in others]
