"""Runs cells in a kernel of Jupyter, and says what each cell shows.

A program, since threads and descriptors of the kernel's client last as long as their process.

In: JSON of `cells`, a list of {code, interrupt_at, until}, and of `end`: "shutdown", "kill" or
"restart". The kernel is interrupted when the cell has printed `interrupt_at`; the next cell comes
when the kernel is idle, and `until` was printed. Out: JSON of `shown`, by cell a list of [stream or
"error", text]; of `started`, how many processes the kernel had; and of `left`, those that it left.
"""

from __future__ import annotations

import json
import sys

import psutil
from jupyter_client.manager import start_new_kernel

PATIENCE = 30


def run_cell(manager, client, cells, shown, cell):
    """Run a cell to its end."""
    number = len(cells)
    request = client.execute(cell["code"])
    cells[request] = number
    shown.append([])
    interrupt_at, until, idle = cell.get("interrupt_at"), cell.get("until"), False
    while not idle or until:
        message = client.get_iopub_msg(timeout=PATIENCE)
        owner = cells.get(message["parent_header"].get("msg_id"))
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            text = content["text"]
            shown[owner].append([content["name"], text])
            if interrupt_at and interrupt_at in text:
                interrupt_at = manager.interrupt_kernel()
            if until and until in text:
                until = None
        elif kind == "error":
            shown[owner].append(["error", f"{content['ename']}: {content['evalue']}"])
        elif kind == "status" and owner == number:
            idle = content["execution_state"] == "idle"


def main():
    """Run the cells that standard input names."""
    job = json.load(sys.stdin)
    manager, client = start_new_kernel(
        kernel_name="python3", extra_arguments=["--IPKernelApp.quiet=True", "--log-level=ERROR"]
    )
    cells, shown = {}, []
    try:
        for cell in job["cells"]:
            run_cell(manager, client, cells, shown, cell)
        started = psutil.Process(manager.provisioner.pid).children(recursive=True)
        if job["end"] == "restart":
            manager.restart_kernel()
            client.wait_for_ready(timeout=PATIENCE)
            _, left = psutil.wait_procs(started, PATIENCE)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=job["end"] == "kill")
    if job["end"] != "restart":
        _, left = psutil.wait_procs(started, PATIENCE)
    json.dump(
        {"shown": shown, "started": len(started), "left": [each.pid for each in left]}, sys.stdout
    )


main()
