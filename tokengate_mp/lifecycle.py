"""The life of a token, as one literal table.

A token is CREATED by a call, WAITING once the gate has it in a lane, ADMITTED when it was sent to
a core, EXECUTING while a crew thread runs it, and then COMPLETED or FAILED. It may be KILLED, or
end in TIMEOUT, at any moment before. Two edges lead back to WAITING: an admitted token that no
thread has begun may be taken back (its core died, or another core is idle), and one whose run
failed may be run again.

The parent learns that a token is EXECUTING only by looking: the core process notes it in shared
memory and goes on. A token whose end arrives without anybody having looked went through EXECUTING
all the same, and `path` says so. `diagram` draws the table for the documentation.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final


class TokenState(Enum):
    """Where in its life a token is."""

    CREATED = "created"
    WAITING = "waiting"
    ADMITTED = "admitted"
    EXECUTING = "executing"
    COMPLETED = "completed"
    FAILED = "failed"
    KILLED = "killed"
    TIMEOUT = "timeout"

    if not TYPE_CHECKING:
        # That of Enum is a Python function, which counting a portion of tokens would call twice.
        __hash__ = object.__hash__

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self in _FINAL


_S = TokenState

TRANSITIONS: Final = MappingProxyType(
    {
        _S.CREATED: frozenset({_S.WAITING, _S.KILLED, _S.TIMEOUT}),
        _S.WAITING: frozenset({_S.ADMITTED, _S.FAILED, _S.KILLED, _S.TIMEOUT}),
        _S.ADMITTED: frozenset({_S.EXECUTING, _S.WAITING, _S.KILLED, _S.TIMEOUT}),
        _S.EXECUTING: frozenset({_S.COMPLETED, _S.FAILED, _S.WAITING, _S.KILLED, _S.TIMEOUT}),
        _S.COMPLETED: frozenset[TokenState](),
        _S.FAILED: frozenset[TokenState](),
        _S.KILLED: frozenset[TokenState](),
        _S.TIMEOUT: frozenset[TokenState](),
    }
)
"""From each state, the states that may follow it."""

_FINAL: Final = tuple(state for state, following in TRANSITIONS.items() if not following)
"""(A tuple: looking through four states takes less than one look-up by an Enum's hash.)"""

EXPLANATIONS: Final = MappingProxyType(
    {
        (_S.CREATED, _S.WAITING): "the gate lets it wait for a core, or for what it needs",
        (_S.WAITING, _S.ADMITTED): "the scheduler sends it to a core",
        (
            _S.WAITING,
            _S.FAILED,
        ): "no core process can be started, a token it needs failed, or its breaker opened",
        (_S.ADMITTED, _S.EXECUTING): "a crew thread begins it",
        (_S.ADMITTED, _S.WAITING): "taken back unbegun, since its core died or another one is idle",
        (_S.EXECUTING, _S.COMPLETED): "the function returned",
        (_S.EXECUTING, _S.FAILED): "the function raised, or its core process died",
        (_S.EXECUTING, _S.WAITING): "it is run again",
    }
)
"""What each transition means, without colons, which end a label in Mermaid.

KILLED and TIMEOUT say by themselves why a token ended.
"""


def allowed(before: TokenState, after: TokenState) -> bool:
    """Whether `after` may follow `before` directly."""
    return after in TRANSITIONS[before]


def path(before: TokenState, after: TokenState) -> tuple[TokenState, ...]:
    """The states passed through from `before` (not included) to `after`.

    A token admitted and then found ended was executed in between.

    Raises:
        ValueError: The table has no such way.
    """
    if allowed(before, after):
        return (after,)
    if before is _S.ADMITTED and allowed(_S.EXECUTING, after):
        return (_S.EXECUTING, after)
    raise ValueError(f"a token cannot go from {before.name} to {after.name}")


def diagram() -> str:
    """Draw the table as a Mermaid `stateDiagram-v2`, a line for each transition."""
    lines = ["stateDiagram-v2", f"    [*] --> {_S.CREATED.name}"]
    for before in TokenState:
        for after in TokenState:
            if allowed(before, after):
                why = EXPLANATIONS.get((before, after))
                label = f": {why}" if why else ""
                lines.append(f"    {before.name} --> {after.name}{label}")
        if before.ended:
            lines.append(f"    {before.name} --> [*]")
    return "\n".join(lines) + "\n"
