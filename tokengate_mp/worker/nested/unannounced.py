"""Members of a chain, from the call that makes them until the parent knows of them.

A call inside a chain is run on this core whatever the parent thinks of it, so it waits right here,
after what the crew has taken from the mail, and the parent is told with whatever is said next. What
the parent must know by when is little:

- a token that begins is known before it does, so that it can be ended, and is lost with its process
  and with nothing else;
- a token is known before anything else that is said of it, and before the outcome of the token that
  made it, after which its chain might be thought to have ended.

Until then a member is *untold*. One that its maker waits for at once is told of when it is begun,
in one record, and what it is called with stays in this process.
"""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from tokengate_mp.wire.payload.codec import NOT_MSGPACK, to_pickle
from tokengate_mp.wire.protocol.records import BEGUN, LINK, Request, encode
from tokengate_mp.worker.crew.outgoing import Outgoing
from tokengate_mp.worker.nested.enrolments import Enrolled
from tokengate_mp.worker.run.context import Chain

TOLD_AT_ONCE: Final = 64
"""How many members may be untold: the parent takes them in while more are made."""


class Member(msgspec.Struct, frozen=True, gc=False):
    """A token that was made in a chain.

    Attributes:
        made: When, monotonic ns.
        enrolled: What it is a call of.
        chain: The chain.
        request: What to run; its arguments may be a tuple of scalars, as they were in the call.
        record: The same encoded; empty: it need not have been.
    """

    made: int
    enrolled: Enrolled
    chain: Chain
    request: Request
    record: bytes

    def link(self, *, begun: int | None) -> bytes:
        """What the parent is told of it.

        Args:
            begun: On top of which token it is begun, 0 for none; None if it is not.
        """
        request, enrolled = self.request, self.enrolled
        record = (
            b"" if begun is not None and not enrolled.kept else self.record or _encoded(request)
        )
        value = (*self.chain, record, begun)
        return encode((request.number, LINK, self.made, enrolled.number, value))


def _encoded(request: Request) -> bytes:
    arguments = cast("tuple[Any, ...]", request.arguments)
    try:
        return encode((request.number, request.function, arguments))
    except NOT_MSGPACK:
        return encode((request.number, request.function, to_pickle((arguments, {}))))


class Untold:
    """The members that the parent does not know of.

    Args:
        outgoing: Where the parent is told. A member is taken out of here under its lock, so that
            one that is not here was told of.

    Attributes:
        members: By number, in the order of their calls.
    """

    __slots__ = ("_outgoing", "members")

    def __init__(self, outgoing: Outgoing) -> None:
        self.members: dict[int, Member] = {}
        self._outgoing = outgoing

    def tell(self) -> None:
        """Tell the parent of all of them."""
        members = self.members
        with self._outgoing.lock:
            for number in list(members):
                self._outgoing.write(number, members[number].link(begun=None))
                del members[number]

    def begin(self, number: int, waiting: int) -> None:
        """Tell the parent that a token is begun by a thread that is running another one.

        Args:
            number: The token.
            waiting: That other one; 0 for none.
        """
        member = self.members.get(number)
        record = b"" if member is None else member.link(begun=waiting)
        with self._outgoing.lock:
            if not self.members.pop(number, None):  # it was told of, if only just now
                record = encode((number, BEGUN, waiting, 0, 0))
            self._outgoing.write(number, record)
