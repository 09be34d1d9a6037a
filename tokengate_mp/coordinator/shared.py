"""A value that is stored once, for any number of tokens."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from tokengate_mp.errors import PayloadError, summary
from tokengate_mp.wire.arena.arena import Arena
from tokengate_mp.wire.payload.attachments import attachments_of, size_of
from tokengate_mp.wire.payload.buffers import current_packing, flat, pack
from tokengate_mp.wire.payload.codec import loads

T = TypeVar("T")

LEAST: Final = 1 << 14
"""From so many bytes on it is worth it: less travels with each call."""


class Shared(Generic[T]):
    """A value in shared memory, as made by `coordinator.share(value)`.

    As an argument of a call, wherever in it, it stands for the value: a function gets that, and an
    array as a read-only view of the one copy there is. The memory is free again when the handle is
    closed or forgotten, every token that it was passed to has ended, and no core process looks at
    the value any more.
    """

    __slots__ = ("__weakref__", "_arena", "_pickled")

    def __init__(self, value: T, arena: Arena | None) -> None:
        self._arena = arena
        try:
            pickled = pack(flat(value), arena, least=LEAST)
        except PayloadError:
            raise
        except Exception as error:
            raise PayloadError(f"this cannot be shared: {summary(error)}") from error
        if len(pickled) >= LEAST and not attachments_of(pickled):
            if arena is None:
                raise PayloadError(
                    "there is no shared memory: max_shared_bytes is 0, or the system refuses it"
                )
            raise PayloadError(
                f"there is no room to share {len(pickled):,} bytes; a higher max_shared_bytes has "
                "more, and handles that are not needed any more can be closed"
            )
        self._pickled: bytes | None = pickled

    @property
    def closed(self) -> bool:
        """Whether the handle was closed."""
        return self._pickled is None

    @property
    def nbytes(self) -> int:
        """Bytes of shared memory taken; 0 if closed, or if the value is so small as to travel."""
        return size_of(attachments_of(self._pickled))

    def close(self) -> None:
        """Close the handle: calls that were made go on, and no more can take the value."""
        self._pickled = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        packing = current_packing()
        if packing is None:
            raise TypeError(
                "a shared value is pickled only as an argument of a call, which then gets the "
                "value itself"
            )
        pickled = self._pickled
        if pickled is None:
            raise PayloadError("this shared value was closed; share it anew")
        if packing.arena is not self._arena:
            raise PayloadError(
                "this value was shared by another coordinator, or by one that was stopped; share "
                "it anew, by the one that runs the call"
            )
        for block in attachments_of(pickled):
            packing.add_attachment(block)
        return loads, (bytes(pickled),)

    def __repr__(self) -> str:
        return f"<Shared {'closed' if self.closed else f'{self.nbytes:,} bytes'}>"
