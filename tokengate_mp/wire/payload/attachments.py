"""What travels by the ring together with what it needs besides: its attachments.

That is blocks of the arena (see `buffers`), and tokens to which a result refers.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokengate_mp.wire.arena.arena import Block


class Referred:
    """The tokens that a pickle refers to: whoever loads it has to find them.

    Args:
        tokens: The tokens. They are known for as long as this is there.
    """

    __slots__ = ("_tokens",)

    def __init__(self, tokens: Iterable[object]) -> None:
        self._tokens = tuple(tokens)


class AttachedPickle(bytes):
    """A pickle, and what it needs.

    Attributes:
        attachments: What it needs. That stays for as long as this does.
    """

    attachments: tuple[Block | Referred, ...]


class AttachedRecord:
    """A record, and what it needs.

    Args:
        record: The record.
        attachments: What it needs.
    """

    __slots__ = ("attachments", "record")

    def __init__(self, record: bytes, attachments: tuple[Block | Referred, ...]) -> None:
        self.record = record
        self.attachments = attachments

    def __len__(self) -> int:
        """How many bytes it takes, those of its blocks among them."""
        return len(self.record) + size_of(self.attachments)


def attachments_of(payload: object) -> tuple[Block | Referred, ...]:
    """What a payload needs."""
    return payload.attachments if isinstance(payload, AttachedPickle) else ()


def size_of(attachments: Iterable[Block | Referred]) -> int:
    """How many bytes the blocks take."""
    return sum([each.place.size for each in attachments if isinstance(each, Block)])


def referring(pickled: bytes, tokens: Iterable[object]) -> AttachedPickle:
    """A pickle that refers to tokens, with those."""
    attachments = AttachedPickle(pickled)
    attachments.attachments = (*attachments_of(pickled), Referred(tokens))
    return attachments


def attached(record: bytes, *payloads: object) -> bytes | AttachedRecord:
    """A record with all that the payloads in it need, if they need anything."""
    attachments = tuple([each for payload in payloads for each in attachments_of(payload)])
    return AttachedRecord(record, attachments) if attachments else record
