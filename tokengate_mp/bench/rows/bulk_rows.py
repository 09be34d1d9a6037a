"""Rows about the executor and its map, each against the standard library's own (see `bulk`)."""

from __future__ import annotations

from typing import Final

from tokengate_mp.bench.probes import bulk
from tokengate_mp.bench.rows.row import Row, Unit, rate

_PER_SECOND: Final = Unit("calls/s", ",.0f", rate, "higher")

BULK_ROWS: Final = (
    Row(
        "submit",
        "submit",
        "no-op calls a second by submit and result of an executor",
        (16_384,),
        (64,),
        _PER_SECOND,
        bulk.submitted,
        bulk.SUBMITTERS,
    ),
    Row(
        "map",
        "map of no-ops",
        "no-op calls a second by map of an executor over a range, and Pool.map, with chunks that "
        "they choose",
        (262_144,),
        (256,),
        _PER_SECOND,
        bulk.mapped_noops,
        bulk.MAPPERS,
        {"PPE": 16_384},
    ),
    Row(
        "map-mix",
        "map of the mix",
        "calls of the mix a second by the same",
        (65_536,),
        (64,),
        _PER_SECOND,
        bulk.mapped_mix,
        bulk.MAPPERS,
    ),
    Row(
        "map-uneven",
        "uneven map",
        "calls a second by the same, of which 1 in 20 takes 100 ms and the others 1 ms",
        (200,),
        (20,),
        _PER_SECOND,
        bulk.mapped_uneven,
        bulk.MAPPERS,
    ),
)
"""What is gained by changing the line that makes an executor or a pool."""
