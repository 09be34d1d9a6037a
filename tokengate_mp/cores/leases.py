"""Leases: what a core process may look at in the arena. The bytes stay for as long.

A process is lent the attachments of each request until that is answered, and the blocks that it
says it has borrowed beyond that until it says that they are released. Its end ends all leases.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tokengate_mp.wire.arena.arena import ArenaAddress, Block
from tokengate_mp.wire.arena.place import Place
from tokengate_mp.wire.arena.regions import ParentArena
from tokengate_mp.wire.payload.attachments import AttachedRecord, Referred


class Leases:
    """The blocks and token references that are lent to a core process.

    Args:
        arena: The arena; None if there is none.
        berth: The address of the arena that the process has been given; None for none.

    Attributes:
        requests: By number, the attachments of requests that are not answered.
    """

    __slots__ = ("_arena", "_berth", "_borrowed", "requests")

    def __init__(self, arena: ParentArena | None, berth: ArenaAddress | None) -> None:
        self._arena = arena
        self._berth = berth
        self.requests: dict[int, tuple[Block | Referred, ...]] = {}
        self._borrowed: dict[tuple[int, int], list[Block]] = {}

    @property
    def region(self) -> int | None:
        """The region that the process writes; None without an arena."""
        return None if self._berth is None else self._berth.region

    def could_be_written(self, place: Place) -> bool:
        """Whether the process can have put something into a place."""
        berth = self._berth
        return (
            berth is not None
            and (place.arena, place.region) == (berth.key, berth.region)
            and place.offset + place.size <= berth.limit
        )

    def lend(
        self, numbers: Sequence[int], records: Iterable[bytes | AttachedRecord]
    ) -> list[bytes]:
        """The plain records of requests that are about to be sent; their attachments are lent."""
        plain: list[bytes] = []
        for number, record in zip(numbers, records, strict=True):
            if isinstance(record, AttachedRecord):
                self.requests[number] = record.attachments
                plain.append(record.record)
            else:
                plain.append(record)
        return plain

    def end_leases(self, numbers: Iterable[int]) -> list[object]:
        """End the leases of answered requests; their attachments, which go with the caller."""
        requests = self.requests
        return [requests.pop(number) for number in numbers if number in requests]

    def borrow(self, names: Iterable[tuple[int, int]]) -> None:
        """Keep blocks that the process goes on looking at, by region and offset.

        Raises:
            PayloadError: A block is not known, so nobody has kept it.
        """
        assert self._arena is not None, "blocks are in an arena"
        for region, offset in names:
            block = self._arena.known_block(region, offset)
            self._borrowed.setdefault((region, offset), []).append(block)

    def release(self, names: Iterable[tuple[int, int]]) -> None:
        """Let go of borrowed blocks, as often as named.

        Raises:
            KeyError: A block was not borrowed.
        """
        for region, offset in names:
            borrowed = self._borrowed[region, offset]
            borrowed.pop()
            if not borrowed:
                del self._borrowed[region, offset]

    def close_leases(self) -> None:
        """End all leases: the process has ended."""
        self.requests.clear()
        self._borrowed.clear()
        if self._arena is not None and self._berth is not None:
            self._arena.retire_region(self._berth.region)
