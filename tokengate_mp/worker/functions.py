"""The functions that a core process knows."""

from __future__ import annotations

from tokengate_mp.seeds import Lead
from tokengate_mp.wire.definition import about
from tokengate_mp.worker.invoke import Function


class Functions(dict[int, Function]):
    """Each by its index.

    Attributes:
        indices: The index of each that has a key (see `wire.definition`), by that and by what makes
            its tokens leads.
    """

    def __init__(self) -> None:
        super().__init__()
        self.indices: dict[tuple[str, Lead | None], int] = {}

    def define(self, index: int, definition: bytes) -> None:
        """The parent tells of a function."""
        if index in self:  # it was found here, and the parent tells everybody
            return
        key, lead = about(definition)
        self[index] = Function(definition, lead)
        if key is not None:
            self.indices.setdefault((key, lead), index)

    def forget(self, index: int) -> None:
        """Nobody calls a function any more."""
        self.pop(index, None)
        for key, known in list(self.indices.items()):
            if known == index:
                del self.indices[key]
