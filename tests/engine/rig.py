"""An engine on fakes: calls go in by the decorator, and the test plays the cores."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import count
from typing import Any, Final
from unittest import mock

from fakes import FakeBackend, FakeLink
from virtual_time import VirtualLoop, virtual_time

from tokengate_mp.calls import token_function
from tokengate_mp.calls.token_function import TokenFunction
from tokengate_mp.config.settings import CoordinatorSettings, coordinator_settings
from tokengate_mp.engine.engine import Engine
from tokengate_mp.engine.outbound.intake import Intake
from tokengate_mp.errors import TokenKilled
from tokengate_mp.loops.host import Host
from tokengate_mp.tokens.forwarding import ForwardingToken, Recipient
from tokengate_mp.tokens.token import Token
from tokengate_mp.wire.protocol.records import encode

DEFAULTS: Final[dict[str, Any]] = {
    "threads_per_core": 4,
    "routing": "work_conserving",
    "ring_bytes": 1 << 16,
    "grace": 2.0,
    "max_shared_bytes": 0,
}
"""Settings of an engine where a test says nothing else."""


class Rig:
    """An engine in a virtual loop, with fake cores.

    Args:
        loop: The loop.
        settings: The engine's settings.
        public: Whether calls of decorated functions go in here.

    Attributes:
        loop: The loop.
        backend: The cores.
        engine: The engine.
        scheduler: Its scheduler.
    """

    def __init__(
        self, loop: VirtualLoop, settings: CoordinatorSettings, *, public: bool = True
    ) -> None:
        self.loop = loop
        self.backend = FakeBackend(loop, len(settings.cpus))
        self.host = Host(loop, own=False)
        self.engine = Engine(settings, self.host, self.backend, public=public)
        self.scheduler = self.engine._scheduler
        self.nested = self.engine._nested_tokens
        self.peers = self.engine._receiver._peers
        self.engine.open()

    def core(self, number: int = 1) -> FakeLink:
        """The process that has a core's seat, or another seat."""
        return self.backend.link(number)

    def run(self) -> None:
        """Let the loop run until it rests, and check the accounts."""
        self.loop.run_ready()
        self.check()

    def after(self, seconds: float) -> None:
        """Let time pass, and check the accounts."""
        self.loop.pass_time(seconds)
        self.check()

    def come_up(self, *cores: int) -> None:
        """Let processes of these cores come up, by default of all."""
        for number in cores or list(self.backend.links):
            self.core(number).come_up()
        self.run()

    def forward(
        self, function: TokenFunction[..., Any], recipient: Recipient
    ) -> ForwardingToken[Any]:
        """Make a call without arguments whose outcome goes to a recipient."""
        intake = self.engine.intake
        index, operation, version = intake.enrol(
            function.called, function.token_options, divisible=True
        )
        number = intake.next_number()
        record = encode((number, index, []))
        return intake.forward(number, operation, record, version, recipient)

    def begun(self, token: Token[Any]) -> FakeLink:
        """The link that holds a token, where a thread has begun it."""
        link = self.holder(token)
        link.begin(token)
        return link

    def holder(self, token: Token[Any]) -> FakeLink:
        """The link that holds a token."""
        seat = self.scheduler.accounts.seat_of(token)
        return self.backend.link(seat)

    def perform_all(self) -> None:
        """Call the functions of all tokens that cores hold and hear of, until none is left."""
        while numbers := [(link, n) for link in self.all_links() for n in link.unbegun]:
            for link, number in numbers:
                if number in link.unbegun:
                    link.perform(number)
            self.run()

    def all_links(self) -> list[FakeLink]:
        """All processes."""
        return [link for link in self.backend.all_links() if isinstance(link, FakeLink)]

    def error_of(self, token: Any) -> BaseException:
        """The error that a token has ended with."""
        assert token.done(), f"{token!r} has not ended"
        error = token.exception()
        assert error is not None, f"{token!r} has a result"
        return error  # type: ignore[no-any-return]

    def finished(self, coroutine: Any) -> Any:
        """Run a coroutine in the loop, which it may not wait in for longer than callbacks take."""
        task = self.loop.create_task(coroutine)
        self.run()
        return task.result()

    # ---- accounts

    def check(self) -> None:
        """Check the accounts of the scheduler against what cores hold.

        Raises:
            AssertionError: They differ.
        """
        self.scheduler.validate()
        self.nested.claims.validate()
        assert self.loop.reported == []
        ledger = self.scheduler._ledger
        for seat, link in self.backend.links.items():
            assert isinstance(link, FakeLink)
            if link.has_news() or link.condemned:
                continue  # the accounts are behind, until all is taken, or the process has ended
            booked = set(ledger[seat].held)
            booked.difference_update(outcome.number for outcome in self.peers.of(link).unsettled)
            assert booked == set(link.held), (
                f"seat {seat}: {booked} are booked, and {link.held} held"
            )

    def check_nothing_left(self) -> None:
        """Check that, with every token ended and answered for, nothing is left of any.

        Raises:
            AssertionError: Something is.
        """
        self.check()
        engine = self.engine
        assert engine.pending_count() == 0
        assert engine.admission.large == 0
        claims = self.nested.claims
        claims.validate()
        assert not claims.pending
        assert not claims.granted
        waits = claims._waits
        assert not waits._awaited
        assert not waits._waiters
        assert not engine._dispatch._pending_calls.arriving
        assert not engine._dispatch._pending_calls.needed
        scheduler = self.scheduler
        assert not scheduler._retries.trials
        assert not scheduler._conductor.chains
        assert not scheduler._conductor.members
        assert not scheduler.relations._dependencies.dependents
        assert not scheduler.relations._dependencies.missing
        for link in self.all_links():
            peer = self.peers.of(link)
            assert not link.leases.requests, f"{link} is lent something"
            assert not peer.carried, f"{link}: an outcome will refer to tokens"
            assert not peer.on_top, f"{link}: a token is on top of another"
            assert not peer.begun, f"{link}: a token is begun on top"
            assert not peer.unsettled, f"{link}: outcomes are not settled"

    def close(self) -> None:
        """Close the engine; every token has ended then."""
        self.engine.close(lambda token: TokenKilled(token.token_id, "the test has ended"))
        self.loop.run_ready()
        assert self.loop.timer_count() == 0, "a timer goes on"
        assert self.scheduler.accounts.unended_count == 0
        assert self.loop.reported == []


@contextlib.contextmanager
def own_numbers() -> Iterator[None]:
    """Count tokens from 1 within: pauses between runs, for one, depend on the numbers."""
    numbers = count(1).__next__
    with (
        mock.patch.object(token_function, "next_number", numbers),
        mock.patch.object(Intake, "next_number", staticmethod(numbers)),
    ):
        yield


@contextlib.contextmanager
def rigged(
    cores: int = 1, *, public: bool = True, up: bool = True, **options: Any
) -> Iterator[Rig]:
    """Have an engine on fakes, which is closed at the end.

    Args:
        cores: How many cores there are.
        public: As for `Rig`.
        up: Whether the processes come up at once.
        options: Settings of a coordinator.
    """
    settings = coordinator_settings(cores, [0], **{**DEFAULTS, **options})
    with virtual_time() as loop, own_numbers():
        rig = Rig(loop, settings, public=public)
        try:
            if up:
                rig.come_up()
            yield rig
        finally:
            rig.close()
