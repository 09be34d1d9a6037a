"""The fence: whenever Ctrl-C comes, it leaves the fence as it was."""

from __future__ import annotations

import signal

import pytest

from tokengate_mp.wire import ordering

INTERRUPTS = 300


@pytest.fixture
def press_soon():
    """Press Ctrl-C, 0.2 ms after this is called."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 2e-4)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("fence", [ordering._fence_of_one, ordering._fence_of_two])
def test_ctrl_c_leaves_the_lock_free(fence, press_soon):
    """It would be taken for ever, and whoever comes next would wait for it."""
    for _ in range(INTERRUPTS):
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - it may come in either
            press_soon()
            while not ordering._lock.locked():
                fence()
        assert not ordering._lock.locked()
