"""Progress bars, drawn by rich or tqdm, in a terminal or in a notebook.

Both are extras: they are loaded when a bar is asked for. They draw on standard error, so that what
a script prints can go elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from tokengate_mp.bulk.progress import Progress


class RichBar:
    """A bar that rich draws."""

    def __init__(self) -> None:
        self._rich: Any = import_module("rich.progress")
        self._console: Any = import_module("rich.console").Console(stderr=True)
        self._bar: Any = None
        self._task: Any = None
        self._failed = 0

    def start(self, total: int | None) -> None:
        """Show the bar."""
        rich = self._rich
        # Without the thread that would draw it ten times a second, told anything or not.
        self._bar = rich.Progress(
            rich.BarColumn(),
            rich.MofNCompleteColumn(),
            rich.TimeElapsedColumn(),
            rich.TimeRemainingColumn(),
            rich.TextColumn("{task.description}", style="red"),
            console=self._console,
            auto_refresh=False,
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=total)
        self._bar.refresh()

    def advance(self, count: int, failed: int) -> None:
        """Draw the bar anew."""
        self._failed += failed
        words = f"{self._failed:,} failed" if self._failed else ""
        self._bar.update(self._task, advance=count, description=words, refresh=True)

    def finish(self) -> None:
        """Stop drawing; the bar stays on the screen."""
        self._bar.stop()


class TqdmBar:
    """A bar that tqdm draws."""

    def __init__(self) -> None:
        self._tqdm: Any = import_module("tqdm.auto").tqdm
        self._bar: Any = None
        self._failed = 0

    def start(self, total: int | None) -> None:
        """Show the bar."""
        self._bar = self._tqdm(total=total, unit="call")

    def advance(self, count: int, failed: int) -> None:
        """Draw the bar anew."""
        self._failed += failed
        if failed:
            self._bar.set_postfix(failed=self._failed, refresh=False)
        self._bar.update(count)

    def finish(self) -> None:
        """Stop drawing; the bar stays on the screen."""
        self._bar.close()


BARS: Final[dict[str, Callable[[], Progress]]] = {"rich": RichBar, "tqdm": TqdmBar}
"""Every bar by the name of what draws it, the one that is preferred first."""


def bar(name: str | None) -> Progress:
    """Make a bar.

    Args:
        name: The library that draws the bar; None for the first that is installed.

    Raises:
        ImportError: The library is not installed.
        ValueError: There is no bar of that name.
    """
    if name is None:
        for each in BARS:
            if find_spec(each) is not None:
                return BARS[each]()
        raise ImportError(
            "progress=True draws a bar with rich or tqdm, and neither is installed: "
            "pip install 'tokengate_mp[progress]' (rich) or 'tokengate_mp[tqdm]'; or pass an "
            "object of your own"
        )
    if name not in BARS:
        raise ValueError(f"progress must be one of {', '.join(map(repr, BARS))}, not {name!r}")
    if find_spec(name) is None:
        raise ImportError(
            f"progress={name!r} needs {name}, which is not installed: "
            f"pip install 'tokengate_mp[{name}]'",
            name=name,
        )
    return BARS[name]()


def chosen_progress(wanted: object) -> Progress | None:
    """The progress that a user asked for; None for none.

    Raises:
        ImportError: The library that draws the bar is not installed.
        TypeError: `wanted` is neither a bool, nor a name, nor a progress.
        ValueError: There is no bar of that name.
    """
    if wanted is None or wanted is False:
        return None
    if wanted is True or isinstance(wanted, str):
        return bar(None if wanted is True else wanted)
    if isinstance(wanted, Progress) and not isinstance(wanted, type):
        return wanted
    raise TypeError(
        f'progress must be True, "rich", "tqdm", or have the methods start(total), '
        f"advance(count, failed) and finish(), as tokengate_mp.Progress says; not "
        f"{wanted!r}"
    )
