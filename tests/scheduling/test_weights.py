from __future__ import annotations

import pytest

from tokengate_mp.scheduling.model.weights import Position, as_set, home, members, shares


@pytest.mark.parametrize(
    ("cores", "light", "medium", "heavy"),
    [
        (1, [1], [1], [1]),
        (2, [2], [2], [1, 2]),
        (3, [3], [2, 3], [1, 2, 3]),
        (4, [3, 4], [2, 3, 4], [1, 2, 3, 4]),
        (8, list(range(3, 9)), list(range(2, 9)), list(range(1, 9))),
        (64, list(range(3, 65)), list(range(2, 65)), list(range(1, 65))),
    ],
)
def test_ranges(cores, light, medium, heavy):
    """Light prefers core 3 and up, medium 2 and up, heavy all; else the next range that exists."""
    assert list(home("light", cores)) == light
    assert list(home("medium", cores)) == medium
    assert list(home("heavy", cores)) == heavy


@pytest.mark.parametrize(
    ("cores", "classes"),
    [
        (1, [("light", "medium", "heavy")]),
        (2, [("light", "medium"), ("heavy",)]),
        (3, [("light",), ("medium",), ("heavy",)]),
        (64, [("light",), ("medium",), ("heavy",)]),
    ],
)
def test_shares(cores, classes):
    """Classes with one range share it, and the narrowest range comes first."""
    assert [share.classes for share in shares(cores)] == classes


def test_classes_of_a_share_take_turns():
    """A class that was served goes to the end; one that was not keeps its turn."""
    (share,) = shares(1)
    assert share.in_turn() == share.in_turn() == ("light", "medium", "heavy")
    share.end_turn("light")
    assert share.in_turn() == ("medium", "heavy", "light")
    share.end_turn("heavy")  # nothing waited in the medium lane
    assert share.in_turn() == ("light", "medium", "heavy")


def test_what_was_given_counts_for_one_turn():
    """A class keeps what it had of its turn until that is over, or another one's has come."""
    (share,) = shares(1)
    share.take_turn("light")
    share.given += 5
    share.take_turn("light")
    assert share.given == 5
    share.end_turn("light")
    assert share.given == 0
    share.take_turn("medium")
    share.given += 7
    share.take_turn("heavy")
    assert share.given == 0
    assert share.in_turn() == ("heavy", "light", "medium")


def test_a_set_of_cores():
    """Bit k stands for core k, and members come in order."""
    assert as_set(range(2, 5)) == 0b11100
    assert list(members(0b11100)) == [2, 3, 4]
    assert list(members(0)) == []
    assert list(members(1 << 256)) == [256]


@pytest.mark.parametrize(
    ("backward", "order"), [(False, [2, 3, 4, 2, 3, 4, 2]), (True, [4, 3, 2, 4, 3, 2, 4])]
)
def test_position_goes_round(backward, order):
    """A position visits the cores of its range in turn, from its front on."""
    position = Position(range(2, 5), backward=backward)
    assert [position.pick(0b11100) for _ in order] == order


@pytest.mark.parametrize(("backward", "after"), [(False, 5), (True, 3)])
def test_position_passes_over_cores_that_are_no_candidates(backward, after):
    """It goes on to the next candidate, and from there; reset takes it back to the front."""
    position = Position(range(1, 7), backward=backward)
    assert position.pick(1 << 4) == 4
    assert position.pick(0b1111110) == after
    position.go_to_front()
    assert position.pick(0b1111110) == (6 if backward else 1)
