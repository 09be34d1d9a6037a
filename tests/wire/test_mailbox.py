from __future__ import annotations

import os
import struct
import subprocess
import sys
from textwrap import dedent

import pytest
from children import environment

from tokengate_mp.config.limits import MAX_THREADS_PER_CORE
from tokengate_mp.config.settings import MIN_RING_BYTES
from tokengate_mp.errors import CoreStartError
from tokengate_mp.wire.channel import doorbell
from tokengate_mp.wire.channel import mailbox as page
from tokengate_mp.wire.channel.mailbox import Mailbox, MailboxAddress
from tokengate_mp.wire.channel.ordering import CHECKED_VARIABLE
from tokengate_mp.wire.channel.segment import PORTABLE_VARIABLE
from tokengate_mp.wire.protocol import records

WORDS = (
    page.REQUEST_HEAD,
    page.REQUEST_TAIL,
    page.OUTCOME_HEAD,
    page.OUTCOME_TAIL,
    page.REQUESTS_ARMED,
    page.OUTCOMES_ARMED,
    page.ROOM_ARMED,
    page.STARVED,
    page.READY,
    page.HUNGRY,
    page.RUNNING,
)


@pytest.fixture
def mailbox(monkeypatch):
    """The smallest mailbox, unchecked on whatever CPU this is."""
    monkeypatch.delenv(CHECKED_VARIABLE, raising=False)
    monkeypatch.setattr("tokengate_mp.wire.channel.ordering.STRONGLY_ORDERED", True)
    made = Mailbox.create(MIN_RING_BYTES)
    yield made
    made.close_mailbox()


def attached(mailbox):
    """The same mailbox, as a process sees it that has inherited the descriptors."""
    there = mailbox.address
    return Mailbox.attach(
        MailboxAddress(
            os.dup(there.segment),
            there.ring_bytes,
            *(tuple(map(os.dup, fds)) for fds in (there.requests, there.outcomes, there.room)),
            there.checked,
        )
    )


def test_words_of_the_status_page_share_no_cache_line():
    """Each word that one process stores while the other looks has 128 bytes of its own."""
    assert all(word * 8 % 128 == 0 for word in WORDS)
    assert len(set(WORDS)) == len(WORDS)
    assert (max(WORDS) + MAX_THREADS_PER_CORE) * 8 <= page.PAGE_BYTES


def test_words_are_aligned(mailbox):
    """A word that lay across two cache lines could be seen half stored."""
    assert mailbox.words.itemsize == 8
    assert mailbox.words.format == "Q"
    assert page.PAGE_BYTES % 4096 == 0


def test_both_sides_see_the_same_mailbox(mailbox):
    """Requests, outcomes, status words and bells lead from one side to the other."""
    core = attached(mailbox)
    assert mailbox.request_writer().append_records(b"request", 1)
    assert core.request_reader().read() == (1, b"request")
    assert core.outcome_writer().append_records(b"outcome", 1)
    assert mailbox.outcome_reader().read() == (1, b"outcome")
    core.words[page.READY] = 1
    assert mailbox.words[page.READY] == 1
    core.words[page.RUNNING + 2] = 77
    assert mailbox.running_tokens() == [77]
    core.close_mailbox()


def test_rings_do_not_overlap(mailbox):
    """Both rings can be full at once, and hold what was written to each."""
    requests, outcomes = mailbox.request_writer(), mailbox.outcome_writer()
    assert requests.append_records(b"r" * MIN_RING_BYTES, 1)
    assert outcomes.append_records(b"o" * MIN_RING_BYTES, 1)
    mailbox.words[page.RUNNING + MAX_THREADS_PER_CORE - 1] = 2**64 - 1
    assert mailbox.request_reader().read() == (1, b"r" * MIN_RING_BYTES)
    assert mailbox.outcome_reader().read() == (1, b"o" * MIN_RING_BYTES)


@pytest.mark.parametrize("portable", ["0", "1"])
def test_closing_leaves_nothing_open(portable, monkeypatch):
    """After `close` every descriptor of the address is closed."""
    monkeypatch.setenv(PORTABLE_VARIABLE, portable)
    mailbox = Mailbox.create(MIN_RING_BYTES)
    fds = mailbox.address.fds
    assert len(set(fds)) == len(fds)
    writer = mailbox.request_writer()
    mailbox.close_mailbox()
    for fd in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    with pytest.raises(ValueError, match="released"):
        writer.append_records(b"late", 1)


@pytest.mark.parametrize("bells_made", [0, 1, 2])
def test_bells_that_cannot_be_made_leave_nothing_open(bells_made, monkeypatch):
    """If there is no descriptor left for a bell, the memory and the other bells are given up."""
    create, made = doorbell.new_doorbell, []

    def limited():
        if len(made) == bells_made:
            raise OSError(24, "Too many open files")
        made.append(create())
        return made[-1]

    monkeypatch.setattr(doorbell, "new_doorbell", limited)
    with pytest.raises(CoreStartError, match=r"doorbells.*Too many open files"):
        Mailbox.create(MIN_RING_BYTES)
    for bell in made:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(bell.fd)


def test_too_little_memory_is_an_error_when_a_mailbox_is_made():
    """A limit that the rings do not fit is met at once, with the size in the message."""
    code = f"""
        import resource
        from tokengate_mp.errors import CoreStartError
        from tokengate_mp.wire.channel.mailbox import PAGE_BYTES, Mailbox
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
        Mailbox.create({MIN_RING_BYTES}).close_mailbox()
        try:
            Mailbox.create(65536)
        except CoreStartError as error:
            assert str(PAGE_BYTES + 2 * 65536) in str(error), error
        else:
            raise SystemExit("no error")
    """
    subprocess.run([sys.executable, "-c", dedent(code)], env=environment(), check=True)


@pytest.mark.parametrize("checked", ["0", "1"])
def test_rings_are_checked_where_that_is_asked_for(checked, monkeypatch):
    """The parent decides, and the core process does as the address says."""
    monkeypatch.setenv(CHECKED_VARIABLE, checked)
    monkeypatch.setattr("tokengate_mp.wire.channel.ordering.STRONGLY_ORDERED", True)
    mailbox = Mailbox.create(MIN_RING_BYTES)
    monkeypatch.delenv(CHECKED_VARIABLE)
    core = attached(mailbox)
    assert mailbox.checked == core.checked == (checked == "1")
    assert mailbox.request_writer().append_records(records.encode((1, 2, [])), 1)
    count, stream = core.request_reader().read()
    assert count == 1 + core.checked
    stream_of = records.Stream(records.Request, checked=core.checked)
    assert [r.number for r in stream_of.records(count, stream)] == [1]
    core.close_mailbox()
    mailbox.close_mailbox()


def test_rings_are_checked_on_a_cpu_that_reorders_stores(monkeypatch):
    """Unless the CPU is known to keep stores in order, checksums are written unasked."""
    monkeypatch.delenv(CHECKED_VARIABLE, raising=False)
    monkeypatch.setattr("tokengate_mp.wire.channel.ordering.STRONGLY_ORDERED", False)
    mailbox = Mailbox.create(MIN_RING_BYTES)
    assert mailbox.checked
    mailbox.close_mailbox()


def test_32_bit_python_is_refused(monkeypatch):
    """Where a control word would be loaded in two halves, starting is refused."""
    monkeypatch.setattr(struct, "calcsize", lambda _format: 4)
    with pytest.raises(CoreStartError, match="64-bit"):
        Mailbox.create(MIN_RING_BYTES)
