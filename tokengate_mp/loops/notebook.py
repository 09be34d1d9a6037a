"""Cells of a notebook, and where the output belongs that no cell has printed itself.

The kernel of a notebook takes from the context (`contextvars`) which cell a text belongs to: a cell
runs in a context that names it, and what a cell has the event loop do later is done in a copy
of that. A text belongs to the cell that runs where the context names none. Core processes speak at
any time and for any cell. So an engine hears them, and does its own work, in a context that names
no cell, whichever has started it.

Other programs have no such variables, and nothing here changes anything for them.
"""

from __future__ import annotations

import sys
import threading
from contextvars import Context, copy_context
from typing import Any, Final

_KERNEL: Final = "ipykernel"

_OF_CELLS: Final = frozenset({"parent_header", "shell_parent", "shell_parent_ident"})
"""Names of the variables in which ipykernel has the cell, for each stream and for itself."""


def context_of_no_cell() -> Context:
    """Copy the current context, without the cell of a notebook that is named in it."""
    here = copy_context()
    if _KERNEL not in sys.modules:
        return here

    def take_over() -> None:
        for variable, value in here.items():
            if variable.name not in _OF_CELLS:
                variable.set(value)

    context = Context()
    context.run(take_over)
    return context


def follow_running_cell() -> None:
    """Have what the calling thread prints in this context go to the cell that runs now.

    In a context of no cell that is so by itself, but for ipykernel 6: there a thread prints to the
    cell that has started the thread, for as long as the thread lives.
    """
    if _KERNEL not in sys.modules or threading.current_thread() is threading.main_thread():
        return
    for stream in (sys.stdout, sys.stderr):
        set_cell = getattr(stream, "set_parent", None)
        if set_cell is not None and not hasattr(stream, "set_thread_parent"):
            shell: Any = sys.modules["IPython"].get_ipython()
            set_cell(shell.kernel.get_parent("shell"))
