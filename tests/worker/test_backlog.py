"""The backlog: where each request goes that a core process takes out of its ring."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tokengate_mp.errors import WireError
from tokengate_mp.wire.protocol.records import (
    ANSWER,
    CHAINED,
    HINT,
    JOIN,
    PART,
    Request,
    encode,
)
from tokengate_mp.worker.crew.backlog import Backlog
from tokengate_mp.worker.crew.chains import Chains
from tokengate_mp.worker.crew.known_tokens import KnownTokens
from tokengate_mp.worker.run.functions import Functions

FUNCTION = 3


class Awaited:
    """A token that threads wait for."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.operation_type = "awaited"
        self.hint: list[tuple[int, str]] = []
        self.request: Request | None = None
        self.waiters = 0
        self.outcomes: list[bytes] = []

    def has_news(self) -> bool:
        return bool(self.outcomes or self.hint) or self.request is not None

    def accept_outcome(self, record: bytes, *, here: bool) -> None:
        self.outcomes.append(record)


class Shop:
    """A backlog with its surroundings, all of them in this process.

    Attributes:
        rung: How often the bell of the request ring was rung.
    """

    def __init__(self) -> None:
        self.rung = 0
        self.known = KnownTokens()
        unannounced: Any = SimpleNamespace(members={})
        self.chains = Chains(unannounced, "test")
        bell: Any = SimpleNamespace(ring=self._ring)
        borrowed: Any = SimpleNamespace()
        self.backlog = Backlog(bell, Functions(), self.known, self.chains, borrowed)

    def _ring(self) -> None:
        self.rung += 1


@pytest.fixture
def shop() -> Shop:
    """A backlog without requests."""
    return Shop()


def call(number: int) -> Request:
    """A plain request."""
    return Request(number, FUNCTION, [number])


def test_plain_requests_are_queued_in_their_order(shop: Shop) -> None:
    """As nearly all are."""
    shop.backlog.sort_requests([call(1), call(2)])
    assert [request.number for request in shop.backlog.queue] == [1, 2]


def test_a_waiting_thread_gets_the_request_of_its_token(shop: Shop) -> None:
    """Whether it comes while the thread waits, lies in the queue, or is a member of a chain."""
    comes, lies, member = Awaited(1), Awaited(2), Awaited(3)
    shop.backlog.queue.append(call(2))
    shop.backlog.members[3] = call(3)
    for token in (comes, lies, member):
        shop.backlog.await_token(token)
    shop.backlog.sort_requests([call(1), call(4)])
    for token in (comes, lies, member):
        assert shop.backlog.take_request(token) == call(token.number)
        assert shop.backlog.take_request(token) is None
    assert [request.number for request in shop.backlog.queue] == [4]
    assert not shop.backlog.members


def test_the_last_thread_to_wait_no_more_puts_a_request_back(shop: Shop) -> None:
    """And wakes the crew for it, which may be asleep."""
    token = Awaited(1)
    shop.backlog.await_token(token)
    shop.backlog.await_token(token)
    shop.backlog.sort_requests([call(1)])
    shop.backlog.await_no_more(token)
    assert not shop.backlog.queue
    shop.backlog.await_no_more(token)
    assert list(shop.backlog.queue) == [call(1)]
    assert shop.rung == 1
    assert not shop.backlog.awaited


def test_a_member_comes_when_the_queue_is_empty(shop: Shop) -> None:
    """The oldest first; and nothing, if another thread has taken it."""
    shop.backlog.members.update({7: call(7), 8: call(8)})
    shop.backlog.queue_member()
    assert list(shop.backlog.queue) == [call(7)]
    shop.backlog.members.clear()
    shop.backlog.queue_member()
    assert list(shop.backlog.queue) == [call(7)]


def test_a_long_request_is_put_together(shop: Shop) -> None:
    """Of its pieces, whatever comes between them."""
    record = encode((1, FUNCTION, [1]))
    shop.backlog.sort_requests([Request(1, PART, record[:2]), call(2)])
    shop.backlog.sort_requests([Request(1, JOIN, record[2:])])
    assert [request.number for request in shop.backlog.queue] == [2, 1]


def test_a_request_of_a_chain_says_which(shop: Shop) -> None:
    """It is known until the token begins."""
    link = encode((5, "seed", encode((6, FUNCTION, [6]))))
    shop.backlog.sort_requests([Request(6, CHAINED, link)])
    assert shop.chains.joined == {6: (5, "seed")}
    assert list(shop.backlog.queue) == [call(6)]


def test_answers_and_hints_go_to_their_tokens(shop: Shop) -> None:
    """An answer to a token that is referred to here, a hint to one that is waited for."""
    from weakref import ref

    token = Awaited(9)
    shop.known.by_number[9] = ref(token)
    hint = Request(9, HINT, encode([(1, "needed")]))
    shop.backlog.sort_requests([hint, Request(9, ANSWER, b"outcome"), Request(8, ANSWER, b"late")])
    assert token.outcomes == [b"outcome"]
    assert not token.hint
    shop.backlog.await_token(token)
    shop.backlog.sort_requests([hint])
    assert token.hint == [(1, "needed")]


def test_an_outcome_wakes_other_threads_than_the_one_that_ran_it(shop: Shop) -> None:
    """They may be asleep over the mail."""
    from weakref import ref

    token = Awaited(9)
    shop.known.by_number[9] = ref(token)
    shop.backlog.deliver_here(8, b"unknown")
    token.waiters = 1
    shop.backlog.deliver_here(9, b"outcome", here=1)
    assert shop.rung == 0
    shop.backlog.deliver_here(9, b"outcome")
    assert shop.rung == 1
    assert token.outcomes == [b"outcome"] * 2


@pytest.mark.parametrize("request_", [Request(1, -99, b""), Request(1, ANSWER, [])])
def test_what_is_no_request_is_an_error(shop: Shop, request_: Request) -> None:
    """Of a kind that there is not, or with other contents than its kind has."""
    with pytest.raises(WireError):
        shop.backlog.sort_requests([request_])
