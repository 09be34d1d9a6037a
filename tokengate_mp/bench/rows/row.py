"""What a row of the benchmark is.

A row names its sizes, who takes part and up to which size, how one sample is taken, and how a raw
sample (seconds or bytes, less is better) reads as a figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Any, Final, Literal

from tokengate_mp.bench.measuring.competitors import COMPETITORS
from tokengate_mp.bench.measuring.sampling import Sample

EVERYONE: Final = tuple(COMPETITORS)
COMPUTING: Final = tuple(name for name in EVERYONE if name != "asyncio")


@dataclass(frozen=True, slots=True)
class Unit:
    """How a raw sample is shown.

    `figure` takes (raw, size, cores); `pattern` formats the figure.
    """

    name: str
    pattern: str
    figure: Callable[[float, int, int], float]
    better: Literal["higher", "lower"]
    """Whether a higher or a lower figure is better."""

    def text(self, figure: float) -> str:
        """Return a figure as text, with its unit."""
        return f"{figure:{self.pattern}} {self.name}".rstrip()


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the benchmark; at several sizes a row fills several lines of the table."""

    key: str
    title: str
    """A word or two for the table."""
    meaning: str
    """What the figure is, in a sentence."""
    sizes: tuple[int, ...]
    quick_sizes: tuple[int, ...]
    unit: Unit
    take: Callable[[str, int, int, int], tuple[float, dict[str, Any]]]
    """Measures (competitor, size, cores, round) and returns the raw sample and its details."""
    competitors: tuple[str, ...] = COMPUTING
    caps: Mapping[str, int] = field(default_factory=dict[str, int])
    """For those that would take minutes: the largest size they are asked to run."""
    milliseconds: float | None = None
    """How long each of its tokens computes, if all take equally long."""
    package: str | None = None
    """The distribution without which nobody can be measured in it."""

    @property
    def possible(self) -> bool:
        """Whether the row can be measured here: its package is installed."""
        return self.package is None or find_spec(self.package) is not None

    def capped(self, name: str, size: int) -> bool:
        """Return whether `size` is beyond the largest that the competitor is asked to run."""
        return size > self.caps.get(name, size)

    def sample(self, name: str, size: int, cores: int, turn: int) -> Sample:
        """Take a sample; an exception of the competitor becomes the sample's error."""
        try:
            raw, detail = self.take(name, size, cores, turn)
        except Exception as error:  # noqa: BLE001 - one broken competitor must not end the run
            return Sample(name, turn, None, f"{type(error).__name__}: {error}")
        return Sample(name, turn, raw, detail=detail)


def scaled(factor: float, raw: float, size: int, cores: int) -> float:
    """Return the raw sample times a factor."""
    del size, cores
    return raw * factor


def rate(raw: float, size: int, cores: int) -> float:
    """Return how many there are in a second, of `size` that took `raw` seconds."""
    del cores
    return size / raw


MILLISECONDS: Final = Unit("ms", ",.2f", partial(scaled, 1e3), "lower")
