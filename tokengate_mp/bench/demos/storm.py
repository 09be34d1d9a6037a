"""The cache storm: equal calls in waves, each of which finds its core while others are under way.

Four keys, and then six waves of the same four, 0.06 s apart; each token sleeps 1.5 s. So all 28 are
in flight at once, and no key may be on two cores.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tokengate_mp import task_token_guard

if TYPE_CHECKING:
    from tokengate_mp import OperationsCoordinator

KEYS: Final = (101, 202, 303, 404)
WAVES: Final = 6
PAUSE: Final = 0.06
SLEEP: Final = 1.5
_LOOK: Final = 0.01


@task_token_guard(operation_type="storm_anchor", sticky_anchor="storm_token")
def storm_token(key: int, seconds: float = SLEEP) -> int:
    """Return the square of a key, after a sleep that stands for work."""
    time.sleep(seconds)
    return key * key


@dataclass(frozen=True, slots=True)
class KeyInStorm:
    """Cores and results of a key's tokens in a storm."""

    key: int
    tokens: int
    cores: tuple[int, ...]
    """The cores that its tokens ran on: one, if all is well."""
    right: bool
    """Whether every token gave the square."""

    @property
    def good(self) -> bool:
        """Whether all is well."""
        return self.right and len(self.cores) == 1


@dataclass(frozen=True, slots=True)
class Storm:
    """Keys, duration and pins of a storm."""

    keys: tuple[KeyInStorm, ...]
    seconds: float
    most_pins: int
    """Pins while all tokens were in flight."""
    left_pins: int
    """Pins after the last token: none, if all is well."""

    @property
    def good(self) -> bool:
        """Whether all is well."""
        return all(each.good for each in self.keys) and not self.left_pins


def _up(coordinator: OperationsCoordinator) -> bool:
    return all(core["alive"] for core in coordinator.get_stats()["cores"])


async def run_storm(
    coordinator: OperationsCoordinator,
    *,
    pause: float = PAUSE,
    sleep: float = SLEEP,
    progress: Callable[[int], None] = lambda _: None,
) -> Storm:
    """Run a storm: waves of equal keys, while earlier waves are under way.

    Args:
        coordinator: The running coordinator.
        pause: Seconds between two waves.
        sleep: Seconds that each token sleeps.
        progress: Called with the number of each wave that was made.
    """
    # The first core that is up would get the first token of every key.
    while not _up(coordinator):  # noqa: ASYNC110 - nothing tells when
        await asyncio.sleep(_LOOK)
    begin = time.perf_counter()
    tokens = {key: [storm_token(key, sleep)] for key in KEYS}
    for wave in range(1, WAVES + 1):
        await asyncio.sleep(pause)
        progress(wave)
        for key in KEYS:
            tokens[key].append(storm_token(key, sleep))
    most = coordinator.get_stats()["sticky"]["pins"]
    keys = []
    for key, own in tokens.items():
        results = await asyncio.gather(*own, return_exceptions=True)
        cores = tuple(sorted({token.core for token in own if token.core is not None}))
        right = all(result == key * key for result in results)
        keys.append(KeyInStorm(key, len(own), cores, right))
    seconds = time.perf_counter() - begin
    left = coordinator.get_stats()["sticky"]["pins"]
    return Storm(tuple(keys), seconds, most, left)
