"""The options of a decorated function's tokens, checked and frozen.

`option_table` makes these of what the decorator is given. (Structs rather than dataclasses, which
would cost each core process some 10 ms of its start.)
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

import msgspec

from tokengate_mp.config.circuit_breaker import CircuitBreaker
from tokengate_mp.config.manner import Manner
from tokengate_mp.config.seeds import Lead

Weight = Literal["light", "medium", "heavy"]

WEIGHTS: Final[tuple[Weight, ...]] = get_args(Weight)


class Policy(msgspec.Struct, frozen=True):
    """The rules for tokens that take too long, fail, are too many, or have to be alone.

    Attributes:
        timeout_ns: How long after its call a token must have ended, ns; None for no limit.
        retries: How often a failed token is run again.
        retry_on: The types of errors after which a failed token is run again.
        backoff_ns: Pause before the first further run, ns; doubled for each run after it.
        idempotent: Whether a token may be run again when its core process died under it.
        lead: The chain that each token leads; None for none.
        max_running: How many tokens of the operation cores may hold at once; None for any number.
        breaker: When the operation takes no calls for a while; None for never.
        of: The operation that tokens are limited with; None for their own.
        exclusive: Whether each token has its core process to itself.
    """

    timeout_ns: int | None = None
    retries: int = 0
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    backoff_ns: int = 0
    idempotent: bool = False
    lead: Lead | None = None
    max_running: int | None = None
    breaker: CircuitBreaker | None = None
    of: str | None = None
    exclusive: bool = False

    @property
    def acts(self) -> bool:
        """Whether any rule has an effect on a token."""
        limited = self.timeout_ns is not None or self.max_running is not None
        limited |= self.breaker is not None
        limited |= self.exclusive
        return limited or self.retries > 0 or self.idempotent or self.lead is not None

    @property
    def manner(self) -> Manner:
        """What core processes have to know of the rules."""
        return Manner(self.lead, self.exclusive)


NO_POLICY: Final = Policy()


class TokenOptions(msgspec.Struct, frozen=True):
    """Options of the tokens of a decorated function.

    Attributes:
        operation_type: Name under which the function's tokens are counted and controlled.
        weight: Weight class; decides which cores the tokens prefer.
        tags: The user's own tags, for telemetry.
        policy: The rules for tokens that take too long, fail, are too many, or have to be alone.
        sticky_anchor: Tokens with this anchor and equal arguments run on one core; None: wherever
            there is room.
        sticky_for: Seconds for which they keep that core after the last of them has ended.
        context: Whether tokens run with the context variables of whoever made them.
        writable: Whether large arguments are copied for the function, which may then change them.
    """

    operation_type: str
    weight: Weight = "medium"
    tags: Mapping[str, Any] = MappingProxyType({})
    policy: Policy = NO_POLICY
    sticky_anchor: str | None = None
    sticky_for: float = 0.0
    context: bool = False
    writable: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        plain = msgspec.structs.replace(self, tags=dict(self.tags))  # a proxy cannot be pickled
        return TokenOptions, msgspec.structs.astuple(plain)
