"""The history of an engine: how its latest tokens have ended.

An entry is a tuple of facts about a token, and not the token, which would keep its result alive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from tokengate_mp.errors import summary
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.tokens.token import Token
from tokengate_mp.wire.protocol.failures import printable
from tokengate_mp.wire.protocol.records import Outcome

HISTORY: Final = 1024
"""How many ended tokens are remembered."""

_COMPLETED, _FAILED = TokenState.COMPLETED, TokenState.FAILED


class History:
    """The latest tokens that have ended, in the order of their ends."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: deque[tuple[Any, ...]] = deque(maxlen=HISTORY)

    def note_outcomes(
        self,
        tokens: Sequence[Token[Any]],
        outcomes: Sequence[Outcome],
        failed: Mapping[int, BaseException],
    ) -> None:
        """Remember tokens that were settled and have ended, a portion at a time.

        Args:
            tokens: The tokens.
            outcomes: The outcome of each.
            failed: By number, the errors of those that raised.
        """
        self._entries.extend(
            [
                (
                    token.number,
                    token.operation,
                    _COMPLETED,
                    token.core,
                    token.created,
                    token.admitted,
                    outcome.started,
                    outcome.finished,
                    None,
                )
                for token, outcome in zip(tokens, outcomes, strict=True)
                if token.stage is _COMPLETED
            ]
        )
        if failed:
            for token in tokens:
                if token.stage is _FAILED and token.number in failed:
                    self.note_error(token, failed[token.number])

    def note_error(self, token: Token[Any], error: BaseException) -> None:
        """Remember a token that ended in an error."""
        timing = token.timing
        self._entries.append(
            (
                token.number,
                token.operation,
                token.stage,
                token.core,
                timing.created,
                timing.admitted,
                timing.started,
                timing.finished,
                printable(summary(error)),
            )
        )

    def recent(self, count: int) -> list[dict[str, Any]]:
        """Describe the `count` latest tokens, latest first."""
        return [_execution(entry) for entry in islice(reversed(self._entries), count)]

    def lines(self) -> bytes:
        """Describe all remembered tokens as JSON lines, first ended first."""
        # A tag may be anything: what JSON has no word for goes as its repr.
        encode = msgspec.json.Encoder(enc_hook=repr).encode
        return b"".join(encode(_execution(entry)) + b"\n" for entry in self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _execution(entry: tuple[Any, ...]) -> dict[str, Any]:
    number, operation, stage, core, created, admitted, started, finished, error = entry
    return {
        "token_id": Token.id_of(number),
        "operation_type": operation.name,
        "weight": operation.weight,
        "tags": dict(operation.tags),
        "state": stage.value,
        "core": core,
        "created": created,
        "admitted": admitted,
        "started": started,
        "finished": finished,
        "error": error,
    }
