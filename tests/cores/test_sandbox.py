"""Systems that lack what Linux has: calls that are refused, and no /proc."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sandbox
import scripts

ALL = ("memfd_create", "eventfd", "pidfd_open")

refusable = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in sandbox.NUMBERS,
    reason="needs seccomp on a machine whose calls are known",
)

WORK = """
    import operator
    import os
    from tokengate_mp import OperationsCoordinator, TokenGateExecutor
    from tokengate_mp.wire.channel.segment import portable

    with TokenGateExecutor(1, initializer=os.putenv, initargs=("A", "B")) as executor:
        assert executor.submit(abs, -1).result(15) == 1
    with OperationsCoordinator(cores=2) as coordinator:
        assert coordinator.submit(len, bytes(1 << 20)).get(15) == 1 << 20
        assert len(coordinator.submit(bytes, 1 << 20).get(15)) == 1 << 20
        assert list(coordinator.map(operator.neg, range(50))) == list(range(0, -50, -1))
        print(coordinator.submit(portable).get(15), portable())
        os.kill(coordinator.get_stats()["cores"][0]["pid"], 9)
        assert coordinator.submit(os.getpid).get(15) != os.getpid()
"""


@refusable
@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS], ids=errno.errorcode.get)
@pytest.mark.parametrize("calls", [ALL, *[(each,) for each in ALL]], ids="+".join)
def test_refused_calls_are_done_without(tmp_path, calls, code):
    """What a sandbox refuses, the coordinator and its core processes do without."""
    env = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(scripts.TESTS)])}
    refuse = f"    import sandbox; sandbox.refuse(*{calls!r}, code={code})\n"
    said = scripts.output(tmp_path / "refused.py", refuse + WORK, env=env)
    expected = not {"memfd_create", "eventfd"}.isdisjoint(calls)
    assert said == f"{expected} {expected}\n"


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare(1)")
def test_without_proc(tmp_path):
    """Everything works where /proc is not mounted."""
    hide = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    if subprocess.run([*hide, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not hide /proc")
    # psutil itself warns when it cannot read there.
    python, _, *rest = scripts.command(tmp_path / "hidden.py", WORK)
    done = scripts.run([*hide, python, *rest])
    assert (done.stdout, done.returncode) == ("False False\n", 0), done.stderr
