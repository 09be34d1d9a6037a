"""Weight classes and the cores they prefer.

HEAVY may run on all cores, MEDIUM on core 2 and up, LIGHT on core 3 and up; where there are fewer
cores a class shares the range of the next one down. Cores are numbered from 1.

*Front-back-fill*: heavy tokens fill from core 1 upwards, light ones from the last core downwards,
and meet in between as load grows. While a range is busy, a staggered position goes on from core to
core, so that tokens spread over it; once it has fallen idle, filling begins at its front again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from tokengate_mp.config.options import WEIGHTS, Weight

Cores: TypeAlias = int
"""A set of cores: bit k is set for core k, and a complement stands for all the others.

So choosing a core takes the same few steps with 256 cores as with two.
"""

ALL_CORES: Final[Cores] = ~0

FIRST_CORE: Final[dict[Weight, int]] = {"heavy": 1, "medium": 2, "light": 3}
"""The lowest core of each class, given that many cores."""


def home(weight: Weight, cores: int) -> range:
    """The range of cores that a class prefers, of `cores` in all."""
    return range(min(FIRST_CORE[weight], cores), cores + 1)


def as_set(cores: Iterable[int]) -> Cores:
    """A set of core numbers as bits."""
    return sum(1 << core for core in cores)


def members(cores: Cores) -> Iterator[int]:
    """Core numbers of a set (no complement), in order."""
    while cores:
        lowest = cores & -cores
        yield lowest.bit_length() - 1
        cores ^= lowest


class Position:
    """The staggered position of a class over a range of cores."""

    __slots__ = ("_at", "_front", "backward")

    def __init__(self, cores: range, *, backward: bool) -> None:
        self.backward = backward
        self._front = cores[-1] if backward and cores else cores.start
        self._at = self._front

    def go_to_front(self) -> None:
        """Begin at the front again."""
        self._at = self._front

    def pick(self, candidates: Cores) -> int:
        """Choose the next core among `candidates` (not empty), going round, and move past that."""
        if self.backward:
            onward = candidates & ((2 << self._at) - 1)
            core = (onward or candidates).bit_length() - 1
            self._at = max(core - 1, 0)
        else:
            onward = candidates >> self._at << self._at
            chosen = onward or candidates
            core = (chosen & -chosen).bit_length() - 1
            self._at = core + 1
        return core


class Share:
    """Weight classes that have the same range, and so take turns there.

    Attributes:
        classes: The classes, in turn.
        home: Their range, as a set of cores.
        position: Where in their range the next tokens go.
        away: Where outside the range tokens go when they borrow a core.
        given: How much work the class whose turn it is was given in this turn, ns.
    """

    __slots__ = ("_turn", "away", "classes", "given", "home", "position")

    def __init__(self, classes: tuple[Weight, ...], cores: int) -> None:
        self.classes = classes
        own = home(classes[0], cores)
        self.home = as_set(own)
        self.position = Position(own, backward="light" in classes and "heavy" not in classes)
        # Beyond its range, a class goes on from the core that is nearest to it.
        self.away = Position(range(1, own.start), backward=True)
        self._turn = 0
        self.given = 0

    def in_turn(self) -> tuple[Weight, ...]:
        """The classes, beginning with that whose turn has come."""
        return self.classes[self._turn :] + self.classes[: self._turn]

    def take_turn(self, weight: Weight) -> None:
        """Give a class the turn, or let that go on: the classes before have nothing waiting."""
        turn = self.classes.index(weight)
        if turn != self._turn:
            self._turn = turn
            self.given = 0

    def end_turn(self, weight: Weight) -> None:
        """End the turn of a class that was given all that a turn gives.

        Not before, if there was no room for all: so in the long run each is given the same (as in
        deficit round robin, Shreedhar and Varghese, 1995).
        """
        self._turn = (self.classes.index(weight) + 1) % len(self.classes)
        self.given = 0


def shares(cores: int) -> tuple[Share, ...]:
    """All classes, the narrowest range first, which comes first on a shared core."""
    by_front: dict[int, list[Weight]] = {}
    for weight in WEIGHTS:
        by_front.setdefault(home(weight, cores).start, []).append(weight)
    return tuple(Share(tuple(by_front[front]), cores) for front in sorted(by_front, reverse=True))
