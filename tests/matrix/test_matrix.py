"""Whatever a script defines, in every place and through every door, beside a spawned pool."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from cells import DOORS, POSITIONS, Item, script
from items_classes import CLASSES
from items_hooks import HOOKS
from items_typing import PACKAGES, TYPING
from items_values import FUNCTIONS, VALUES
from scripts import environment

GROUPS: Final = {
    "classes": CLASSES,
    "hooks": HOOKS,
    "typing": TYPING,
    "packages": PACKAGES,
    "functions": FUNCTIONS,
    "values": VALUES,
}


PATIENCE: Final = 120
"""Seconds until a script that is not done is killed. Each takes a few, where there is a core."""


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Any:
    """Gives the report of a group; its script runs once, whichever process asks first."""
    root = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        root = root.parent  # what all processes of this run share

    def report(group: str) -> dict[str, Any]:
        kept = root / f"matrix-{group}.json"
        with (root / f"matrix-{group}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                items = [item for item in GROUPS[group] if item.is_possible()]
                path = root / f"matrix_{group}.py"
                path.write_text(script(items), encoding="utf-8")
                kept.write_text(json.dumps(_run(path)), encoding="utf-8")
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        assert "failed" not in found, found["failed"]
        return found

    return report


def _run(path: Path) -> dict[str, Any]:
    running = [
        subprocess.Popen(
            [sys.executable, str(path), part],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        for part in ("doors", "pool")
    ]
    report: dict[str, Any] = {}
    try:
        for process in running:
            said, complained = process.communicate(timeout=PATIENCE)
            if process.returncode != 0:
                return {"failed": complained[-3000:]}
            report |= json.loads(said)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {PATIENCE} s"}
    finally:
        for process in running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
    return report


def _parameters() -> list[Any]:
    return [
        pytest.param(group, item, position, id=f"{group}-{item.name}-{position}")
        for group, items in GROUPS.items()
        for item in items
        for position in POSITIONS
    ]


@pytest.mark.timeout(2 * PATIENCE + 20)  # the first of a group runs its script
@pytest.mark.parametrize(("group", "item", "position"), _parameters())
def test_thing_of_a_script_is_what_it_is_in_a_pool(
    group: str, item: Item, position: str, reports: Any
) -> None:
    """Through each door a thing is what a spawned process has, or what this process has.

    Where a pool cannot send it, it may be refused with PayloadError. It is never another value.
    """
    if not item.is_possible():
        pytest.skip("not in this Python, or without its package")
    report = reports(group)
    here, pool = (report[f"{item.name} {position} {where}"] for where in ("here", "pool"))
    assert here[0] == "value", here
    right = [here, pool] if pool[0] == "value" else [here]
    for door in DOORS:
        got = report[f"{item.name} {position} {door}"]
        if got[0] == "refused" and (item.may_be_refused or pool[0] != "value"):
            continue
        assert got in right, f"{door}: {got}; here {here}, in a pool {pool}"
