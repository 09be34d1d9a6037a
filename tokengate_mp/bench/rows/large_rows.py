"""Rows about large payloads (see `large`)."""

from __future__ import annotations

from typing import Final

from tokengate_mp.bench.measuring.competitors import OURS
from tokengate_mp.bench.probes import large
from tokengate_mp.bench.rows.row import MILLISECONDS, Row

LARGE_ROWS: Final = (
    Row(
        "there",
        "array there",
        "a call with an array of so many MiB as its argument, which it adds up",
        (64,),
        (1,),
        MILLISECONDS,
        large.there,
        (OURS, "PPE"),
    ),
    Row(
        "back",
        "array back",
        "a call whose result is an array of so many MiB",
        (64,),
        (1,),
        MILLISECONDS,
        large.back,
        (OURS, "PPE"),
    ),
    Row(
        "shared",
        "shared array",
        "so many calls with the same array of 64 MiB: shared, or passed each time",
        (100,),
        (2,),
        MILLISECONDS,
        large.shared,
        (OURS, "PPE"),
    ),
    Row(
        "stall",
        "loop stall",
        "how late the loop is while so many MiB are submitted, beyond copying them",
        (200,),
        (8,),
        MILLISECONDS,
        large.stall,
        (OURS,),
    ),
)
"""How long large arrays take, there and back, and what the event loop has of them."""
