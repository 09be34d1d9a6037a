"""No wake-up is lost between a consumer that goes to sleep and a producer that publishes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from children import environment

from tokengate_mp.wire.channel import mailbox as page
from tokengate_mp.wire.channel.doorbell import EventBell, Sleeper, SocketBell
from tokengate_mp.wire.channel.mailbox import Arming, Mailbox, Ringing
from tokengate_mp.wire.channel.ordering import CHECKED_VARIABLE, _fence_of_one, _fence_of_two
from tokengate_mp.wire.channel.segment import PORTABLE_VARIABLE
from tokengate_mp.wire.protocol import records

PUBLISHES = 3

# ---- a small model, every interleaving of it
#
# A state holds: memory and bell; for each side its program counter, its store buffer (stores that
# the other side cannot see yet) and its variables. The steps are those of `Arming`, `Ringing` and
# the loops around them; `test_model_takes_the_steps_of_the_code` compares.

CONSUMER = ("arm", "fence", "look", "sleep", "disarm", "consume")
PRODUCER = ("publish", "fence", "ring if armed")


class State:
    __slots__ = (
        "armings",
        "buffers",
        "consumer",
        "memory",
        "producer",
        "published",
        "rung",
        "seen",
    )

    def __init__(self):
        self.memory = {"head": 0, "armed": 0, "bell": 0}
        self.buffers = {"consumer": (), "producer": ()}
        self.consumer, self.producer = "consume", "publish"
        self.seen = self.armings = self.published = self.rung = 0

    def copy(self):
        other = State.__new__(State)
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        other.memory, other.buffers = dict(self.memory), dict(self.buffers)
        return other

    def key(self):
        return (
            *self.memory.values(),
            *self.buffers.values(),
            *(getattr(self, name) for name in self.__slots__ if name not in {"memory", "buffers"}),
        )

    def load(self, side, word):
        """A CPU sees its own stores before others do."""
        for stored, value in reversed(self.buffers[side]):
            if stored == word:
                return value
        return self.memory[word]

    def store(self, side, word, value):
        self.buffers[side] = (*self.buffers[side], (word, value))


def successors(state, *, fenced):
    """Every state that one step of somebody leads to."""
    for side in ("consumer", "producer"):
        if state.buffers[side]:
            after = state.copy()
            (word, value), *later = after.buffers[side]
            after.memory[word] = value
            after.buffers[side] = tuple(later)
            yield after
    for step, side in ((_consumer_step, "consumer"), (_producer_step, "producer")):
        at = getattr(state, side)
        if at == "fence" and fenced and state.buffers[side]:
            continue  # it waits until its stores are visible
        after = state.copy()
        if step(after, at):
            yield after


def _consumer_step(state, at):
    if at == "arm":
        state.armings += 1
        state.store("consumer", "armed", state.armings)
        state.consumer = "fence"
    elif at == "fence":
        state.consumer = "look"
    elif at == "look":
        pending = state.load("consumer", "head") != state.seen
        state.consumer = "disarm" if pending else "sleep"
    elif at == "sleep":
        if not state.memory["bell"]:
            return False
        state.memory["bell"] = 0
        state.consumer = "disarm"
    elif at == "disarm":
        state.store("consumer", "armed", 0)
        state.consumer = "consume"
    else:
        state.seen = state.load("consumer", "head")
        state.consumer = "arm"
    return True


def _producer_step(state, at):
    if at == "publish":
        if state.published == PUBLISHES:
            return False
        state.published += 1
        state.store("producer", "head", state.published)
        state.producer = "fence"
    elif at == "fence":
        state.producer = "ring if armed"
    else:
        armed = state.load("producer", "armed")
        if armed and armed != state.rung:
            state.rung = armed
            state.memory["bell"] = 1
        state.producer = "publish"
    return True


def sleepers_over_mail(*, fenced):
    """The states in which nobody can do anything any more, and something was not consumed."""
    seen, todo, lost = set(), [State()], 0
    while todo:
        state = todo.pop()
        if state.key() in seen:
            continue
        seen.add(state.key())
        # Bells that ring for nothing could wake the consumer for ever; a few rounds say it all.
        following = list(successors(state, fenced=fenced)) if state.armings < 9 else [None]
        if not following and state.seen != PUBLISHES:
            lost += 1
        todo += [after for after in following if after is not None]
    return lost


def test_no_interleaving_loses_a_wake_up():
    """However the steps of both sides and the arrival of stores interleave, all is consumed."""
    assert sleepers_over_mail(fenced=True) == 0


def test_without_fences_wake_ups_are_lost():
    """The fences are what does it: without them the model finds consumers asleep over mail."""
    assert sleepers_over_mail(fenced=False) > 0


class Trace:
    """A control page that notes what is done to it."""

    def __init__(self, steps):
        self.steps = steps
        self.values = [0] * 64

    def __getitem__(self, index):
        self.steps.append(("load", index))
        return self.values[index]

    def __setitem__(self, index, value):
        self.steps.append(("store", index))
        self.values[index] = value


def test_model_takes_the_steps_of_the_code(monkeypatch):
    """Arming stores and then fences; ringing fences, then loads, then rings: as in the model."""
    steps = []
    words = Trace(steps)
    monkeypatch.setattr(page, "full_fence", lambda: steps.append("fence"))

    class Bell:
        def ring(self):
            steps.append("ring")

    arming, ringing = Arming(words, 7), Ringing(Bell(), words, 7)
    arming.arm()
    assert steps == [("store", 7), "fence"]
    assert arming.armed
    steps.clear()
    assert ringing.ring_if_armed()
    assert steps == ["fence", ("load", 7), "ring"]
    steps.clear()
    assert not ringing.ring_if_armed(), "one ring for one arming"
    assert steps == ["fence", ("load", 7)]
    arming.disarm()
    assert not ringing.ring_if_armed()
    arming.arm()
    assert ringing.ring_if_armed()
    arming.disarm()
    steps.clear()
    arming.disarm()
    assert steps == []


def test_each_arming_has_a_number_of_its_own():
    """A producer that remembers the number it rang for never takes a new arming for an old one."""
    words = [0]
    arming = Arming(words, 0)
    numbers = []
    for _ in range(5):
        arming.arm()
        numbers.append(words[0])
        arming.disarm()
        assert words[0] == 0
    assert all(later > earlier > 0 for earlier, later in pairwise(numbers))


def test_fences_leave_their_lock_free():
    """A fence, of either kind, can be passed any number of times, by any number of threads."""

    def passes():
        for _ in range(2000):
            _fence_of_one()
            _fence_of_two()

    threads = [threading.Thread(target=passes) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# ---- the real thing, hammered


@pytest.mark.parametrize("kind", [EventBell, SocketBell])
def test_threads_that_hammer_a_bell_lose_nothing(kind):
    """A consumer whose patience is far longer than the test never has to rely on it."""
    bell = kind.open_new()
    words = memoryview(bytearray(128)).cast("Q")
    head, armed, total = 0, 8, 20_000

    def produce():
        ringing = Ringing(bell, words, armed)
        for number in range(1, total + 1):
            words[head] = number
            ringing.ring_if_armed()

    producer = threading.Thread(target=produce)
    arming, sleeper, seen = Arming(words, armed), Sleeper(bell), 0
    producer.start()
    while seen < total:
        arming.arm()
        if words[head] == seen:
            sleeper.sleep(50.0)
        arming.disarm()
        seen = words[head]
    producer.join()
    bell.close_bell()


ECHO = Path(__file__).with_name("echo_core.py")
ROUNDS = 4000


@pytest.mark.parametrize("checked", ["0", "1"])
@pytest.mark.parametrize("portable", ["0", "1"])
def test_processes_that_hammer_a_mailbox_lose_nothing(portable, checked, monkeypatch):
    """Requests go out in bursts, come back one by one through full rings, and nobody hangs.

    Both sides wait for their bells with a patience far longer than the test.
    """
    monkeypatch.setenv(PORTABLE_VARIABLE, portable)
    monkeypatch.setenv(CHECKED_VARIABLE, checked)
    mailbox = Mailbox.create(4096)
    address = mailbox.address
    assert address.checked == (checked == "1")
    core = subprocess.Popen(
        [sys.executable, ECHO, msgspec.json.encode(address).decode(), str(ROUNDS)],
        pass_fds=address.fds,
        env=environment(),
    )
    try:
        echoed = _drive(mailbox)
    except BaseException:
        core.kill()
        raise
    finally:
        code = core.wait()
        mailbox.close_mailbox()
    assert code == 0
    assert echoed == list(range(1, ROUNDS + 1))


def _drive(mailbox):
    writer, reader = mailbox.request_writer(), mailbox.outcome_reader()
    requests = Ringing(mailbox.requests, mailbox.words, page.REQUESTS_ARMED)
    room = Ringing(mailbox.room, mailbox.words, page.ROOM_ARMED)
    for_outcomes = Arming(mailbox.words, page.OUTCOMES_ARMED)
    for_room = Arming(mailbox.words, page.STARVED)
    sleeper = Sleeper(mailbox.outcomes)
    stream = records.Stream(records.Outcome, checked=mailbox.checked)
    number, echoed = 0, []
    while len(echoed) < ROUNDS:
        # As many as there is room for, up to a burst whose size keeps changing.
        blocked = False
        for _ in range(number % 7 + 1):
            if number == ROUNDS:
                break
            record = records.encode((number + 1, 0, ["x" * (number % 300)]))
            if not writer.append_records(record, 1):
                for_room.arm()
                if not writer.append_records(record, 1):
                    blocked = True
                    break
            for_room.disarm()
            number += 1
        requests.ring_if_armed()
        for_outcomes.arm()
        if not reader.pending():
            if number < ROUNDS and not blocked:
                continue
            asleep = time.monotonic()
            sleeper.sleep(20.0)
            assert time.monotonic() - asleep < 20.0, "the other side is gone, or a ring was lost"
        for_outcomes.disarm()
        taken = reader.read()
        if taken is not None:
            room.ring_if_armed()
            echoed += [outcome.number for outcome in stream.records(*taken)]
    return echoed
