"""Arbitrary bytes in every decoder raise only the documented errors; `targets` says which bytes."""

from __future__ import annotations

import asyncio
import logging
import pickle
from types import SimpleNamespace

import pytest
import targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokengate_mp.cores.incarnation import Incarnation
from tokengate_mp.cores.leases import Leases
from tokengate_mp.engine.admission import Admission
from tokengate_mp.engine.inbound.settlement import Settlement
from tokengate_mp.engine.nested.nested_tokens import NestedTokens
from tokengate_mp.engine.outbound.breaker_guard import BreakerGuard
from tokengate_mp.engine.outbound.functions import Functions
from tokengate_mp.engine.outbound.pending_calls import PendingCalls
from tokengate_mp.engine.peers import Peers
from tokengate_mp.errors import WireError
from tokengate_mp.loops.callbacks import CallbackQueue
from tokengate_mp.observe.history import History
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.tokens.token import Token
from tokengate_mp.wire.arena.regions import ParentArena
from tokengate_mp.wire.channel.mailbox import Mailbox
from tokengate_mp.wire.protocol.records import BLOCKED, Enrolment, Outcome, encode


@pytest.fixture(scope="module", autouse=True)
def _shared():
    targets.open_mailbox()
    yield
    targets.close()


@st.composite
def mutated(draw):
    """Give a valid record with some of its bytes changed, left out, doubled or cut off."""
    record = bytearray(draw(st.sampled_from(targets.VALID)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(record)))
        change = draw(st.sampled_from(["set", "drop", "add", "cut", "twice"]))
        if change == "set" and at < len(record):
            record[at] = draw(st.integers(0, 255))
        elif change == "drop":
            del record[at : at + draw(st.integers(1, 4))]
        elif change == "add":
            record[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif change == "cut":
            del record[at:]
        else:
            record[at:at] = record[:at]
    return bytes(record)


ANYTHING = st.one_of(st.binary(max_size=300), mutated(), st.sampled_from(targets.VALID))


@pytest.mark.parametrize("target", targets.TARGETS, ids=lambda target: target.__name__)
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(data=ANYTHING)
def test_only_documented_errors(target, data):
    """Whatever the bytes, a decoder gives a record or says in its own words that it is none."""
    target(data)


@pytest.mark.parametrize("target", targets.TARGETS, ids=lambda target: target.__name__)
def test_valid_records_are_taken(target):
    """What the fuzzing begins with passes."""
    for record in targets.VALID:
        target(record)


def test_deeply_nested_bytes():
    """An array in an array, a hundred thousand times, is refused like other nonsense."""
    for target in (targets.single_records, targets.batches, targets.definitions):
        target(b"\x91" * 100_000)
    targets.streams(b"\x00\x01" + b"\x91" * 100_000)


class Half:
    """A coordinator's side of one core, without a process on the other."""

    def __init__(self, loop):
        self.callbacks = CallbackQueue(loop)
        self.mailbox = Mailbox.create(1 << 16)
        self.arena = ParentArena.make(1 << 20, 1)
        leases = Leases(self.arena, self.arena.berth())
        self.link = Incarnation(
            1, SimpleNamespace(mailbox=self.mailbox, process=SimpleNamespace(pid=1)), None, leases
        )
        self.scheduler = Scheduler(2, 2, "work_conserving", 2)
        self.admission = Admission(1000, 1 << 20, "wait", lambda: 0)
        self.link.seat = 1
        control = SimpleNamespace(kill=self.kill, deliver_error=self.kill)
        pending_calls = PendingCalls(self.scheduler, self.admission, control)
        peers = Peers({1: self.link})
        self.peer = peers[1]
        self.chains = NestedTokens(
            self.callbacks,
            self.scheduler,
            Functions(),
            peers,
            self.admission,
            self.kill,
            BreakerGuard(self.scheduler, control),
            pending_calls,
        )
        self.settlement = Settlement(self.scheduler, self.chains, self.admission, History(), ())
        self.scheduler.core_ready(1)
        operation = self.scheduler.operations.declare("fuzz", "heavy")
        self.tokens = [self.token(number, operation) for number in range(1, 9)]
        self.scheduler.submitted(self.tokens)
        self.scheduler.assign(0)

    def kill(self, token, _reason):
        """End a token as the control would."""
        self.scheduler.killed(token)

    def token(self, number, operation):
        """Make a token that was called and not sent."""
        from tokengate_mp.lifecycle import TokenState

        token = Token(loop=self.callbacks)
        token.number, token.operation, token.stage = number, operation, TokenState.CREATED
        token.core, token.record, token.function, token.created = None, b"", None, 0
        return token

    def hear(self, records):
        """Let the core have written these; False if that is the end of its process."""
        self.mailbox.outcome_writer().append_records(b"".join(map(encode, records)), len(records))
        try:
            while (portion := self.link.take()) is not None:
                self.settlement.settle(self.peer, portion, None)
        except WireError:
            return False
        return True

    def close(self):
        self.link.leases.close_leases()
        self.arena.close_arena()
        self.mailbox.close_mailbox()


NUMBERS = st.one_of(st.integers(0, 9), st.sampled_from([-1, 1 << 40, 1 << 41, 2**63]))
ENROLLED = encode(Enrolment(1, b"", "made", "light", pickle.dumps(None)))
VALUES = st.one_of(
    st.none(),
    st.integers(-1, 9),
    st.text(max_size=3),
    st.lists(NUMBERS, max_size=3),
    mutated().map(lambda record: targets.NO_PICKLE + record),
    st.binary(max_size=40).map(lambda data: targets.IN_A_BLOCK + data),
    st.sampled_from(targets.VALID),
    st.just(ENROLLED),
)
TIMES = st.one_of(st.integers(0, 3), st.sampled_from([-1, 2**63, -(2**63)]))
OUTCOMES = st.builds(Outcome, NUMBERS, st.integers(-1, 2 * BLOCKED), TIMES, TIMES, VALUES)


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(records=st.lists(OUTCOMES, max_size=8))
def test_nonsense_from_a_core_costs_that_core_alone(records):
    """Well-formed records of any content are taken, or condemn the core; no token goes missing."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    half = Half(loop)
    try:
        half.hear(records)
        half.scheduler.core_lost(1, {}, 0)
        half.scheduler.validate()
        for token in half.tokens:
            token.ending_error()
    finally:
        half.close()
        loop.close()
        logging.getLogger("asyncio").setLevel(logging.NOTSET)
