"""The fence: whenever Ctrl-C comes, it leaves the fence as it was."""

from __future__ import annotations

from scripts import command, run

_INTERRUPTED = """
    import gc, signal, threading
    from tokengate_mp.wire.channel import ordering

    gc.disable()  # an interrupt in the middle of it would be swallowed
    signal.signal(signal.SIGALRM, signal.default_int_handler)

    def interrupted(fence):
        try:
            signal.setitimer(signal.ITIMER_REAL, 2e-4)
            while True:
                fence()
        except KeyboardInterrupt:
            thread = threading.Thread(target=fence, daemon=True)
            thread.start()
            thread.join(5)
            return thread.is_alive()

    for fence in (ordering._fence_of_one, ordering._fence_of_two):
        print(any(interrupted(fence) for _ in range(500)))
"""


def test_ctrl_c_holds_up_nobody(tmp_path):
    """A fence that Ctrl-C came to holds up no thread that comes next."""
    ended = run(command(tmp_path / "script.py", _INTERRUPTED))
    assert (ended.returncode, ended.stdout.split()) == (0, ["False", "False"]), ended.stderr
