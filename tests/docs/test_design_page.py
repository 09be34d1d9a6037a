"""What docs/design.md says of the floors is what the import contract holds."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def floors_of_the_contract():
    """The floors of the package from the top, each with its rooms."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (whole,) = (each for each in contracts if each.get("containers") == ["tokengate_mp"])
    return [set(floor.split(" | ")) for floor in whole["layers"] if floor != "__main__"]


def test_the_page_has_the_floors_of_the_contract():
    """The same rooms on each floor, in the same order."""
    page = (ROOT / "docs" / "design.md").read_text("utf-8")
    block = page.split("```\n")[1]
    floors = [set(re.split(r"  +", line)[0].split(" | ")) for line in block.splitlines()]
    assert floors == floors_of_the_contract()
