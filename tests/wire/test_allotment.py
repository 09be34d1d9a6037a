"""The arithmetic of what is taken and free, against a plain model."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tokengate_mp.wire.arena.allotment import GRAIN, Allotment

GRAINS = 64


class Model(RuleBasedStateMachine):
    """A list of grains, each taken by somebody or not."""

    def __init__(self) -> None:
        super().__init__()
        self.allotment = Allotment(GRAINS * GRAIN + GRAIN // 2)
        self.grains: list[int | None] = [None] * GRAINS
        self.taken: dict[int, int] = {}

    @rule(size=st.integers(1, 40 * GRAIN))
    def take(self, size: int) -> None:
        """It takes the lowest stretch that is long enough, and none exactly if there is none."""
        count = -(-size // GRAIN)
        places = [
            at
            for at in range(GRAINS - count + 1)
            if all(owner is None for owner in self.grains[at : at + count])
        ]
        start = self.allotment.allot(size)
        assert start == (places[0] * GRAIN if places else None)
        if start is not None:
            at = start // GRAIN
            self.grains[at : at + count] = [start] * count
            self.taken[start] = count

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def give(self, data: st.DataObject) -> None:
        """What is given back is free."""
        start = data.draw(st.sampled_from(sorted(self.taken)))
        self.allotment.free_block(start)
        at, count = start // GRAIN, self.taken.pop(start)
        self.grains[at : at + count] = [None] * count

    @invariant()
    def adds_up(self) -> None:
        """Nothing is lost, and nothing taken twice."""
        self.allotment.validate()
        assert self.allotment.used == GRAIN * sum(owner is not None for owner in self.grains)


TestAllotment = Model.TestCase


def test_what_was_not_taken_cannot_be_given_back():
    """It is an error, and changes nothing."""
    allotment = Allotment(GRAIN)
    start = allotment.allot(1)
    with pytest.raises(KeyError):
        allotment.free_block(start + GRAIN)
    allotment.free_block(start)
    with pytest.raises(KeyError):
        allotment.free_block(start)
    allotment.validate()


def test_nothing_can_be_taken_of_nothing():
    """A limit below one grain is no room at all."""
    assert Allotment(GRAIN - 1).allot(1) is None
