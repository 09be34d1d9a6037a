"""Rows that measure us alone: chains, and how tokens are ended (see `locality` and `endings`)."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from tokengate_mp.bench.measuring.competitors import OURS
from tokengate_mp.bench.probes import fresh
from tokengate_mp.bench.rows.row import MILLISECONDS, Row, Unit, scaled

_OF_CORES: Final = frozenset({"diamond_share", "tagged_share", "guarded_share"})


def _probe(probe: str, name: str, size: int, cores: int, turn: int) -> tuple[float, dict[str, Any]]:
    del name, turn
    of_cores = (cores,) if probe in _OF_CORES else ()
    return fresh.in_fresh_interpreter(probe, size, *of_cores), {}


def _inverse(raw: float, size: int, cores: int) -> float:
    del size, cores
    return 1 / raw


OWN_ROWS: Final = (
    Row(
        "child",
        "child",
        "from the call of a no-op child to its result, inside a lead on one core",
        (2_000,),
        (40,),
        Unit("µs", ",.1f", partial(scaled, 1e6), "lower"),
        partial(_probe, "child_cost"),
        (OURS,),
    ),
    Row(
        "chained",
        "chained",
        "children of a chain, four at a time: their rate over that of gathers of four",
        (2_000,),
        (40,),
        Unit("x", ".2f", _inverse, "higher"),
        partial(_probe, "chain_share"),
        (OURS,),
    ),
    Row(
        "diamond",
        "diamond",
        "four layers, each token of which needs two of the one before: the rate over that of as "
        "many which need none",
        (100_000,),
        (80,),
        Unit("x", ".3f", _inverse, "higher"),
        partial(_probe, "diamond_share"),
        (OURS,),
    ),
    Row(
        "tagged",
        "tagged",
        "no-ops that all have an anchor, or all lead a chain: their rate over that without",
        (65_536,),
        (256,),
        Unit("x", ".3f", _inverse, "higher"),
        partial(_probe, "tagged_share"),
        (OURS,),
    ),
    Row(
        "kill",
        "kill",
        "from the kill of a token that runs Python to the next result of its core; the best of so "
        "many times",
        (20,),
        (2,),
        MILLISECONDS,
        partial(_probe, "kill_seconds"),
        (OURS,),
    ),
    Row(
        "stuck",
        "kill in C",
        "the same, of a token that never comes back from C code: beyond the grace it has",
        (5,),
        (1,),
        MILLISECONDS,
        partial(_probe, "stuck_seconds"),
        (OURS,),
    ),
    Row(
        "replaced",
        "replaced",
        "from the SIGKILL of a core's only process, with tokens queued, to its next result; the "
        "best of so many times",
        (5,),
        (1,),
        MILLISECONDS,
        partial(_probe, "replaced_seconds"),
        (OURS,),
    ),
    Row(
        "guarded",
        "guarded",
        "no-ops with a deadline each, beside limits that are never met: their rate over that "
        "without",
        (65_536,),
        (256,),
        Unit("x", ".3f", _inverse, "higher"),
        partial(_probe, "guarded_share"),
        (OURS,),
    ),
)
"""What there is nobody to compare with: rates are held against our own without it."""
