from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from contextlib import suppress

import pytest
from children import environment

from tokengate_mp.wire.channel import doorbell
from tokengate_mp.wire.channel.doorbell import EventBell, Sleeper, SocketBell
from tokengate_mp.wire.channel.segment import PORTABLE_VARIABLE


@pytest.fixture(params=[EventBell, SocketBell])
def bell(request):
    """A bell of each kind."""
    made = request.param.open_new()
    yield made
    made.close_bell()


def _is_rung(bell):
    return bool(select.select([bell.fd], [], [], 0)[0])


def test_bell_is_readable_from_the_first_ring_to_the_next_clear(bell):
    """Ringing makes it readable and clearing makes it unreadable, however often it was rung."""
    assert not _is_rung(bell)
    for rings in (1, 2, 5000):
        for _ in range(rings):
            bell.ring()
        assert _is_rung(bell)
        bell.silence()
        assert not _is_rung(bell)


def test_clearing_a_bell_that_nobody_rang_returns_at_once(bell):
    """A bell may be cleared by somebody who only thinks that it was rung."""
    bell.silence()
    assert not _is_rung(bell)


def test_full_bell_never_blocks(bell):
    """However often it is rung without being heard, ringing returns, and it stays readable."""
    if isinstance(bell, EventBell):
        os.eventfd_write(bell.fd, 2**64 - 2)
    else:
        with socket.socket(fileno=os.dup(bell.fds[1])) as far, suppress(BlockingIOError):
            while True:
                far.send(bytes(4096))
    for _ in range(3):
        bell.ring()
    assert _is_rung(bell)
    bell.silence()
    assert not _is_rung(bell)


def test_bell_can_be_attached_from_its_descriptors(bell):
    """A process that inherits the descriptors has the same bell, and can both ring and hear it."""
    other = doorbell.attach(tuple(os.dup(fd) for fd in bell.fds))
    assert type(other) is type(bell)
    other.ring()
    assert _is_rung(bell)
    other.silence()
    assert not _is_rung(bell)
    bell.ring()
    assert _is_rung(other)
    other.close_bell()


def test_bell_of_another_process_wakes_a_sleeper(bell):
    """A ring in a child wakes this process long before its patience is at an end."""
    code = (
        "import sys; from tokengate_mp.wire.channel import doorbell; "
        "doorbell.attach(tuple(map(int, sys.argv[1:]))).ring()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, bell.fds)], pass_fds=bell.fds, env=environment()
    )
    Sleeper(bell).sleep(50.0)
    assert child.wait() == 0
    assert not _is_rung(bell)


def test_sleeper_returns_at_once_when_the_bell_was_rung_before(bell):
    """A ring is not lost on somebody who begins to wait only afterwards."""
    bell.ring()
    Sleeper(bell).sleep(50.0)
    assert not _is_rung(bell)


def test_sleeper_gives_up_waiting(bell):
    """A sleep has an end without a ring too."""
    Sleeper(bell).sleep(0.001)
    assert not _is_rung(bell)


@pytest.mark.parametrize(("forced", "kind"), [("", EventBell), ("0", EventBell), ("1", SocketBell)])
def test_best_bell_is_made(forced, kind, monkeypatch):
    """On Linux an eventfd, and elsewhere, or where that is asked for, a pair of sockets."""
    monkeypatch.setenv(PORTABLE_VARIABLE, forced)
    made = doorbell.new_doorbell()
    assert type(made) is kind
    made.close_bell()


def test_bells_are_not_inherited_unasked(bell):
    """A process that a token starts does not hold a core's bells."""
    assert not any(os.get_inheritable(fd) for fd in bell.fds)


def test_sleeper_can_tell_without_sleeping_whether_it_was_woken(bell):
    """Once for each time; whoever sleeps afterwards does not return for that ring."""
    sleeper = Sleeper(bell)
    assert not sleeper.was_woken()
    bell.ring()
    assert sleeper.was_woken()
    assert not sleeper.was_woken()
