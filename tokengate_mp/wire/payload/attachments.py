"""What travels by the ring together with what it needs besides: its attachments.

That is blocks of the arena (see `buffers`), and tokens to which a result refers.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokengate_mp.wire.arena.arena import Block


class Referred:
    """The tokens that a pickle refers to: a reader of the pickle has to find each.

    Args:
        tokens: The tokens. They are known for as long as this is there.
    """

    __slots__ = ("_tokens",)

    def __init__(self, tokens: Iterable[object]) -> None:
        self._tokens = tuple(tokens)


class AttachedPickle(bytes):
    """Pickle bytes with the arena blocks and token references they depend on.

    Attributes:
        attachments: The blocks and references. They stay for as long as the pickle does.
        written: How many bytes were written into blocks for it; the others were there.
    """

    attachments: tuple[Block | Referred, ...]
    written: int = 0


class AttachedRecord:
    """A record with the arena blocks and token references that its payloads depend on.

    Args:
        record: The record.
        attachments: The blocks and references.
        written: How many bytes were written into blocks for it.
    """

    __slots__ = ("attachments", "record", "written")

    def __init__(
        self, record: bytes, attachments: tuple[Block | Referred, ...], written: int = 0
    ) -> None:
        self.record = record
        self.attachments = attachments
        self.written = written

    def __len__(self) -> int:
        """Bytes of the record, and of the blocks."""
        return len(self.record) + size_of(self.attachments)


def attachments_of(payload: object) -> tuple[Block | Referred, ...]:
    """Return the blocks and references that a payload depends on."""
    return payload.attachments if isinstance(payload, AttachedPickle) else ()


def size_of(attachments: Iterable[Block | Referred]) -> int:
    """Return how many bytes the blocks among attachments take."""
    return sum([each.place.size for each in attachments if isinstance(each, Block)])


def referring(pickled: bytes, tokens: Iterable[object]) -> AttachedPickle:
    """Attach to a pickle the tokens that are referred to in the value."""
    attachments = AttachedPickle(pickled)
    attachments.attachments = (*attachments_of(pickled), Referred(tokens))
    return attachments


def attached(record: bytes, *payloads: object) -> bytes | AttachedRecord:
    """Attach to a record all that the payloads in the record depend on, if anything."""
    attachments = tuple([each for payload in payloads for each in attachments_of(payload)])
    if not attachments:
        return record
    written = sum([getattr(payload, "written", 0) for payload in payloads])
    return AttachedRecord(record, attachments, written)
