"""The fence: whenever Ctrl-C comes, it leaves the fence as it was."""

from __future__ import annotations

from scripts import command, run

_INTERRUPTED = """
    import gc, signal
    from tokengate_mp.wire.channel import ordering

    gc.disable()  # an interrupt in the middle of it would be swallowed
    signal.signal(signal.SIGALRM, signal.default_int_handler)

    def interrupted(fence):
        try:
            signal.setitimer(signal.ITIMER_REAL, 2e-4)
            while True:
                fence()
        except KeyboardInterrupt:
            return ordering._lock.locked()

    for fence in (ordering._fence_of_one, ordering._fence_of_two):
        print(any(interrupted(fence) for _ in range(500)))
"""


def test_ctrl_c_leaves_the_lock_free(tmp_path):
    """It would be taken for ever, and whoever comes next would wait for it."""
    ended = run(command(tmp_path / "script.py", _INTERRUPTED))
    assert (ended.returncode, ended.stdout.split()) == (0, ["False", "False"]), ended.stderr
