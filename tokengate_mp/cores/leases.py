"""What a core process may look at in the arena: so long its bytes stay.

It is leases the blocks of each request until it has answered for that, and those that it says it
keeps until it says that it does not. When the process ends, it looks at nothing any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tokengate_mp.wire.arena.arena import ArenaAddress, Block, Place
from tokengate_mp.wire.arena.regions import ParentArena
from tokengate_mp.wire.payload.attachments import AttachedRecord, Referred
from tokengate_mp.wire.protocol.records import Outcome

if TYPE_CHECKING:
    from tokengate_mp.cores.incarnation import Incarnation


class Leases:
    """The blocks that are leases to one core process.

    Args:
        arena: Where they are; None if there is none.
        berth: What the process knows of it.

    Attributes:
        requests: By number, what the requests need that it has not answered for.
    """

    def __init__(self, arena: ParentArena | None, berth: ArenaAddress | None) -> None:
        self._arena = arena
        self._berth = berth
        self.requests: dict[int, tuple[Block | Referred, ...]] = {}
        self._kept: dict[tuple[int, int], list[Block]] = {}

    @property
    def region(self) -> int | None:
        """The region that the process writes; 0 if it has none."""
        return None if self._berth is None else self._berth.region

    def wrote(self, place: Place) -> bool:
        """Whether this is a place that the process can have put something into."""
        berth = self._berth
        return (
            berth is not None
            and (place.arena, place.region) == (berth.key, berth.region)
            and place.offset + place.size <= berth.limit
        )

    def unload(
        self, numbers: Iterable[int], records: Iterable[bytes | AttachedRecord]
    ) -> list[bytes]:
        """The records of requests that are about to be sent; what they need is leases."""
        unloaded: list[bytes] = []
        for number, record in zip(numbers, records, strict=True):
            if isinstance(record, AttachedRecord):
                self.requests[number] = record.attachments
                unloaded.append(record.record)
            else:
                unloaded.append(record)
        return unloaded

    def answered(self, numbers: Iterable[int]) -> None:
        """The process has no more to do with these requests."""
        for number in numbers:
            self.requests.pop(number, None)

    def keep(self, names: Iterable[tuple[int, int]]) -> None:
        """The process looks at these blocks on.

        Raises:
            PayloadError: It cannot: nobody has kept them.
        """
        assert self._arena is not None, "blocks are in an arena"
        for region, offset in names:
            block = self._arena.known_block(region, offset)
            self._kept.setdefault((region, offset), []).append(block)

    def let_go(self, names: Iterable[tuple[int, int]]) -> None:
        """The process looks at these no more.

        Raises:
            KeyError: It has not said that it did.
        """
        for region, offset in names:
            kept = self._kept[region, offset]
            kept.pop()
            if not kept:
                del self._kept[region, offset]

    def close(self) -> None:
        """The process has ended."""
        self.requests.clear()
        self._kept.clear()
        if self._arena is not None and self._berth is not None:
            self._arena.retire_region(self._berth.region)


def kept(incarnation: Incarnation, record: Outcome) -> None:
    """A core process says what it keeps."""
    incarnation.leases.keep([(region, offset) for region, offset in record.value])


def let_go(incarnation: Incarnation, record: Outcome) -> None:
    """A core process says what it has let go."""
    incarnation.leases.let_go([(region, offset) for region, offset in record.value])


def give_back(arena: ParentArena, living: Mapping[int, Incarnation]) -> None:
    """Results to which nobody refers any more: tell those who wrote them."""
    for region, offsets in arena.take_released().items():
        for incarnation in living.values():
            if incarnation.leases.region == region:
                incarnation.free(offsets)
