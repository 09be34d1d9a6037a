"""What travels by the ring together with what it needs of the arena (see `buffers`)."""

from __future__ import annotations

from tokengate_mp.wire.arena import Block


class Freight(bytes):
    """A pickle, and the blocks that it needs.

    Attributes:
        cargo: The blocks. They stay for as long as this does.
    """

    cargo: tuple[Block, ...]


class Laden:
    """A record, and the blocks that it needs.

    Args:
        record: The record.
        cargo: The blocks.
    """

    __slots__ = ("cargo", "record")

    def __init__(self, record: bytes, cargo: tuple[Block, ...]) -> None:
        self.record = record
        self.cargo = cargo

    def __len__(self) -> int:
        """How many bytes it takes, those of its blocks among them."""
        return len(self.record) + sum([block.place.size for block in self.cargo])


def cargo_of(payload: object) -> tuple[Block, ...]:
    """The blocks that a payload needs."""
    return payload.cargo if isinstance(payload, Freight) else ()


def laden(record: bytes, *payloads: object) -> bytes | Laden:
    """A record with all the blocks that the payloads in it need, if they need any."""
    cargo = tuple([block for each in payloads for block in cargo_of(each)])
    return Laden(record, cargo) if cargo else record
