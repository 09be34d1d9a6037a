"""The glossary has each word once, and none that the source has no use for."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINES = (ROOT / "docs" / "glossary.md").read_text("utf-8").splitlines()
WORDS = [word for line in LINES for word in re.findall(r"\*\*([^*]+)\*\*", line.split(" | ")[0])]


def test_each_word_is_explained_once():
    """A word means one thing everywhere."""
    assert len(WORDS) > 20, "the words of the glossary's tables are read"
    assert [word for word, times in Counter(WORDS).items() if times > 1] == []


def test_each_word_is_used_in_the_source():
    """In a name or in a sentence, whole or joined by an underscore."""
    sources = (ROOT / "tokengate_mp").rglob("*.py")
    source = " ".join(path.read_text("utf-8") for path in sources).lower()
    text = re.sub(r"[\s_]+", " ", source)
    assert [word for word in WORDS if not re.search(rf"\b{word}(s|es)?\b", text)] == []
