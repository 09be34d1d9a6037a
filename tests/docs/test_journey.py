"""Who has read docs/journey.md finds the answer to each of five questions in five files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

JOURNEY = Path(__file__).resolve().parents[2] / "docs" / "journey.md"

_HEADING = re.compile(r"^## (.*)$", re.MULTILINE)
_FILE = re.compile(r"(?:\w+/)*\w+\.py\b")


def sections():
    """The text below each heading of the page."""
    _, *parts = _HEADING.split(JOURNEY.read_text("utf-8"))
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize(
    "question",
    [
        "Where does a token wait?",
        "A core process is killed",
        "A new option",
        "An observer",
        "Cores elsewhere",
    ],
)
def test_an_answer_names_at_most_five_files(question):
    """And at least one, since a section that names none leads nowhere."""
    assert 1 <= len(set(_FILE.findall(sections()[question]))) <= 5
