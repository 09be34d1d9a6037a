"""Identities of objects."""

from __future__ import annotations

import gc
from weakref import ref

import pytest

from tokengate_mp.wire.payload.identities import Identities


class _Cyclic:
    """An object that only the collector ends, as it does a class."""

    def __init__(self) -> None:
        self.own = self


@pytest.mark.parametrize("told_first", [True, False])
def test_an_object_that_comes_while_its_predecessor_is_collected_is_found(
    told_first: bool,
) -> None:
    """An identity leads to the object that came last, whenever the end of another is told."""
    identities, new, identity = Identities(), _Cyclic(), b"identity"
    old = _Cyclic()
    if told_first:
        identities.set(old, identity)
    watch = ref(old, lambda _: identities.set(new, identity))
    if not told_first:
        identities.set(old, identity)

    del old
    gc.collect()

    assert watch() is None
    assert identities.find(identity) is new
    assert identities.get(new) == identity
