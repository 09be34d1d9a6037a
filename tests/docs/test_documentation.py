"""What README.md and docs/ tell the reader to run does run.

Every fenced block of ```python is a script that stands alone. It is run unless the line before it
says why not:

    <!-- not run: it needs eight cores -->

Every line after `$ ` in a block of ```console is a shell command, run in the root of the project as
the reader would. Commands may take long or change the reader's machine, so a block of them is run
only if the line before it says that it can be:

    <!-- run -->
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 50  # Less than a test's own, so that what is reported is the block and its output.

_FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,}) *(?P<language>\w*)")
_MARK = re.compile(r"\s*<!-- *(?P<mark>not run|run)(?P<rest>.*?)-->\s*")
_REASON = re.compile(r": *\w.*")


class MarkError(Exception):
    """A mark that says nothing, or that stands before nothing."""


@dataclass(frozen=True)
class Block:
    """A fenced block that is to be run."""

    where: str
    language: str
    code: str

    def commands(self) -> Iterator[str]:
        """The shell commands of a console block, without prompts and the output between."""
        joined = self.code.replace("\\\n", " ")
        for line in joined.splitlines():
            if line.startswith("$ "):
                yield line.removeprefix("$ ")


def blocks_to_run(name: str, text: str) -> Iterator[Block]:
    """Find the blocks of one page that are to be run.

    Raises:
        MarkError: A mark gives no reason, or no block of code follows it.
    """
    lines = enumerate(text.splitlines(), start=1)
    mark = None
    for number, line in lines:
        where = f"{name}:{number}"
        if fence := _FENCE.match(line):
            language, code = fence["language"], _body(fence, lines)
            if language == "python" and mark != "not run":
                yield Block(where, language, code)
            if language == "console" and mark == "run":
                yield Block(where, language, code)
            mark = None
        elif mark and line.strip():
            raise MarkError(f"{where}: a mark to run or not to run stands before no block")
        elif found := _MARK.fullmatch(line):
            mark = found["mark"]
            if mark == "not run" and not _REASON.match(found["rest"]):
                raise MarkError(f"{where}: say why: <!-- not run: the reason -->")
    if mark:
        raise MarkError(f"{name}: a mark to run or not to run stands before no block")


def _body(fence: re.Match[str], lines: Iterable[tuple[int, str]]) -> str:
    body = []
    for _, line in lines:
        if line.strip().startswith(fence["fence"]) and not line.strip().strip(fence["fence"][0]):
            break
        body.append(line.removeprefix(fence["indent"]))
    return "\n".join(body) + "\n"


def _pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _blocks() -> list[Block]:
    return [
        block
        for page in _pages()
        if page.exists()
        for block in blocks_to_run(str(page.relative_to(ROOT)), page.read_text("utf-8"))
    ]


def _run(command: list[str], cwd: Path) -> None:
    # The scripts of the environment under test come first, as they do for the reader in a venv.
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}"


@pytest.mark.parametrize("block", [pytest.param(block, id=block.where) for block in _blocks()])
def test_block_runs(block, tmp_path):
    """A block of the documentation does what the reader would do with it, without an error."""
    if block.language == "python":
        script = tmp_path / "block.py"
        script.write_text(block.code, "utf-8")
        _run([sys.executable, str(script)], cwd=tmp_path)
    else:
        for command in block.commands():
            _run(["bash", "-c", command], cwd=ROOT)


PAGE = """
```python
one = 1
```

<!-- not run: it is a fragment -->

```python
...
```

1. In a list:

   ```python
   if one:
       two = 2
   ```

```console
$ rm --recursive everything
```

<!-- run -->
```console
$ echo one \\
    two
one two
$ true
```

````markdown
```python
quoted
```
````

```text
$ no command
```
"""


def test_which_blocks_are_run():
    """Python runs unless marked, consoles only if marked, and quoted fences are no blocks."""
    first, nested, console = blocks_to_run("page.md", PAGE)
    assert first == Block("page.md:2", "python", "one = 1\n")
    assert nested == Block("page.md:14", "python", "if one:\n    two = 2\n")
    assert console.where == "page.md:24"
    assert [command.split() for command in console.commands()] == [["echo", "one", "two"], ["true"]]


@pytest.mark.parametrize(
    "page",
    [
        "<!-- not run -->\n```python\n```\n",
        "<!-- not run: -->\n```python\n```\n",
        "<!-- run -->\nSome text.\n```console\n```\n",
        "<!-- not run: because -->\n",
    ],
)
def test_a_mark_that_means_nothing_is_an_error(page):
    """A block cannot be left out without a reason, nor by a mark that has lost its block."""
    with pytest.raises(MarkError):
        list(blocks_to_run("page.md", page))


def test_a_block_that_fails_is_reported_with_its_output(tmp_path):
    """The failure shows the exit code and what the block printed on the way."""
    with pytest.raises(AssertionError, match=r"exit code 3\n\s*said before"):
        _run(["bash", "-c", "echo said before; exit 3"], cwd=tmp_path)
