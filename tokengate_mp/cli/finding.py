"""What a doctor comes back with."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of an examination of the machine.

    Attributes:
        subject: What it is.
        text: What was found.
        verdict: Whether it is as it should be.
        remedy: What to do about it; empty where there is nothing to do.
    """

    subject: str
    text: str
    verdict: Verdict = Verdict.OK
    remedy: str = ""
