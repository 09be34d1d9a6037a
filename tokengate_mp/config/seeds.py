"""Seeds: what the tokens of one chain have in common, and by which a chain can be recognised.

    seed = SHA-256(token_id + ":" + freeze(external_calls)), in hex

of the lead's id. The digest policy says how much of it is used, or which hash.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Any, Final

import msgspec


class Lead(msgspec.Struct, frozen=True):
    """The properties of a chain's lead.

    Attributes:
        calls: Its `external_calls`, frozen.
        digest: Its digest policy.
    """

    calls: str
    digest: str = "full"

    def seed(self, token_id: str) -> str:
        """Compute the seed of the chain that a token leads."""
        return POLICIES[self.digest](f"{token_id}:{self.calls}".encode("utf-8", "surrogatepass"))


def freeze(value: object) -> str:
    """`value` as text that is the same in every process, and whatever order its parts are in.

    Functions and classes are their names; mappings and sets are sorted; lists and tuples keep their
    order; anything else is its `repr`.
    """
    if isinstance(value, Mapping):
        pairs = sorted(f"{freeze(key)}:{freeze(item)}" for key, item in value.items())
        return f"{{{','.join(pairs)}}}"
    if isinstance(value, AbstractSet):
        return f"{{{','.join(sorted(map(freeze, value)))}}}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(freeze, value))}]"
    qualname = getattr(value, "__qualname__", None)
    if isinstance(qualname, str):
        return f"{getattr(value, '__module__', '')}.{qualname}"
    return repr(value)


def _sha256(data: bytes) -> str:
    import hashlib  # noqa: PLC0415 - few processes need it, and none at its start

    return hashlib.sha256(data).hexdigest()


def _blake2s(data: bytes) -> str:
    import hashlib  # noqa: PLC0415 - as above

    return hashlib.blake2s(data, digest_size=8).hexdigest()


POLICIES: Final[Mapping[str, Callable[[bytes], str]]] = MappingProxyType(
    {
        "full": _sha256,
        "short": lambda data: _sha256(data)[:16],
        "fast": _blake2s,
        "minimal": lambda data: _sha256(data)[:8],
    }
)
"""How a seed is made of what it is the digest of, by digest policy."""


def lead(who: str, external_calls: Any, digest_policy: Any) -> Lead | None:
    """Check the options of a chain's lead; None if there are none.

    Args:
        who: The operation, for the error.
        external_calls: The calls that the lead is going to make; None if it is no lead.
        digest_policy: The name of a policy; None for "full".

    Raises:
        TypeError: `external_calls` is no sequence.
        ValueError: There is no such policy, or one is given without a lead.
    """
    if digest_policy is not None and digest_policy not in POLICIES:
        allowed = ", ".join(map(repr, POLICIES))
        raise ValueError(f"{who}: digest_policy must be one of {allowed}, not {digest_policy!r}")
    if external_calls is None:
        if digest_policy is not None:
            raise ValueError(
                f"{who}: digest_policy says how a chain's seed is made, and without external_calls "
                "there is no chain"
            )
        return None
    if not isinstance(external_calls, (list, tuple)):
        raise TypeError(
            f"{who}: external_calls must be a list, not {type(external_calls).__name__}"
        )
    return Lead(freeze(external_calls), "full" if digest_policy is None else digest_policy)
