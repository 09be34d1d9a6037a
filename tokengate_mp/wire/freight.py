"""What travels by the ring together with what it needs besides: its cargo.

That is blocks of the arena (see `buffers`), and tokens to which a result refers.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokengate_mp.wire.arena import Block


class Referred:
    """The tokens that a pickle refers to: whoever loads it has to find them.

    Args:
        tokens: The tokens. They are known for as long as this is there.
    """

    __slots__ = ("_tokens",)

    def __init__(self, tokens: Iterable[object]) -> None:
        self._tokens = tuple(tokens)


class Freight(bytes):
    """A pickle, and what it needs.

    Attributes:
        cargo: What it needs. That stays for as long as this does.
    """

    cargo: tuple[Block | Referred, ...]


class Laden:
    """A record, and what it needs.

    Args:
        record: The record.
        cargo: What it needs.
    """

    __slots__ = ("cargo", "record")

    def __init__(self, record: bytes, cargo: tuple[Block | Referred, ...]) -> None:
        self.record = record
        self.cargo = cargo

    def __len__(self) -> int:
        """How many bytes it takes, those of its blocks among them."""
        return len(self.record) + size_of(self.cargo)


def cargo_of(payload: object) -> tuple[Block | Referred, ...]:
    """What a payload needs."""
    return payload.cargo if isinstance(payload, Freight) else ()


def size_of(cargo: Iterable[Block | Referred]) -> int:
    """How many bytes the blocks take."""
    return sum([each.place.size for each in cargo if isinstance(each, Block)])


def referring(pickled: bytes, tokens: Iterable[object]) -> Freight:
    """A pickle that refers to tokens, with those."""
    freight = Freight(pickled)
    freight.cargo = (*cargo_of(pickled), Referred(tokens))
    return freight


def laden(record: bytes, *payloads: object) -> bytes | Laden:
    """A record with all that the payloads in it need, if they need anything."""
    cargo = tuple([each for payload in payloads for each in cargo_of(payload)])
    return Laden(record, cargo) if cargo else record
