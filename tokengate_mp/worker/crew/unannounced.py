"""Members of a chain, from the call that makes them until the parent knows of them.

A call inside a chain is run on this core whatever the parent thinks of it, so it waits right here,
after what the crew has taken from the mail, and is announced to the parent with the next record.
What the parent must know by when is little:

- a token that begins is known before it does, so that it can be ended, and is lost with its process
  and with nothing else;
- a token is known before anything else that is said of it, and before the outcome of the token that
  made it, after which its chain might be thought to have ended.

Until then a member is *unannounced*. A member that its maker waits for at once is announced when it
is begun, in one record, and the arguments of its call stay in this process.
"""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from tokengate_mp.wire.payload.codec import NOT_MSGPACK, to_pickle
from tokengate_mp.wire.protocol.records import BEGUN, LINK, Request, encode
from tokengate_mp.worker.crew.outgoing import Outgoing
from tokengate_mp.worker.run.chain import ChainRef
from tokengate_mp.worker.run.functions import Enrolled

MAX_UNANNOUNCED: Final = 64
"""How many members may be unannounced: the parent takes them in while more are made."""


class Member(msgspec.Struct, frozen=True, gc=False):
    """A token that was made in a chain.

    Attributes:
        made: When, monotonic ns.
        enrolled: The function and the options of its call.
        chain: The chain.
        request: The call; its arguments may be a tuple of scalars, as they were passed.
        record: The request encoded; empty: it need not have been.
    """

    made: int
    enrolled: Enrolled
    chain: ChainRef
    request: Request
    record: bytes

    def announcement(self, *, begun: int | None) -> bytes:
        """Encode the LINK record that makes the member known to the parent.

        Args:
            begun: On top of which token it is begun, 0 for none; None if it is not.
        """
        request, enrolled = self.request, self.enrolled
        record = (
            b""
            if begun is not None and not enrolled.resendable
            else self.record or _encoded(request)
        )
        value = (*self.chain, record, begun)
        return encode((request.number, LINK, self.made, enrolled.number, value))


def _encoded(request: Request) -> bytes:
    """Encode a call whose arguments are scalars: as msgpack, or pickled where that is refused."""
    # (By no call encoder: a process whose tokens call nothing has loaded none.)
    arguments = cast("tuple[Any, ...]", request.arguments)
    try:
        return encode((request.number, request.function, arguments))
    except NOT_MSGPACK:
        return encode((request.number, request.function, to_pickle((arguments, {}))))


class Unannounced:
    """The members that the parent does not know of.

    Args:
        outgoing: Where members are announced. A member is taken out of here under its lock: so a
            member that is not here was announced.

    Attributes:
        members: By number, in the order of their calls.
    """

    __slots__ = ("_outgoing", "members")

    def __init__(self, outgoing: Outgoing) -> None:
        self.members: dict[int, Member] = {}
        self._outgoing = outgoing

    def announce_all(self) -> None:
        """Announce every member."""
        members = self.members
        with self._outgoing.lock:
            for number in list(members):
                announcement = members[number].announcement(begun=None)
                self._outgoing.write_record(number, announcement)
                del members[number]

    def announce_begun(self, number: int, below: int) -> None:
        """Announce a token that is begun by a thread which is running another token.

        Args:
            number: The token.
            below: The other token, which waits for it; 0 for none.
        """
        member = self.members.get(number)
        record = b"" if member is None else member.announcement(begun=below)
        with self._outgoing.lock:
            if not self.members.pop(number, None):  # it was announced, if only just now
                record = encode((number, BEGUN, below, 0, 0))
            self._outgoing.write_record(number, record)
