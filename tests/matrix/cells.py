"""The matrix of what scripts define: one script for each group, which runs all of its cells."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from textwrap import dedent
from typing import Final

POSITIONS: Final = ("argument", "result", "global", "annotation")
"""Where a thing stands: what a function is given, gives back, refers to, is annotated with."""

DOORS: Final = ("decorator", "executor", "map", "joblib")
"""Ways into a core process, beside a pool of the standard library whose processes are spawned."""


@dataclass(frozen=True)
class Item:
    """A thing that a script defines.

    Attributes:
        name: A name for it, and the prefix of the names that the script gives to its functions.
        thing: An expression for the thing.
        examine: An expression over `thing` and the names of the script, of plain data: what the
            thing is and does wherever it has come to.
        define: The script's text before, in which names are the item's own.
        needs: The package without which there is no such item.
        since: The Python version from which there is.
        may_be_refused: Whether it can be made anew, as a pool does by running the script again,
            and not be sent.
    """

    name: str
    thing: str
    examine: str
    define: str = ""
    needs: str | None = None
    since: tuple[int, int] = (3, 11)
    may_be_refused: bool = False

    def is_possible(self) -> bool:
        """Whether this Python, with the packages that it has, can define the thing."""
        if sys.version_info[:2] < self.since:
            return False
        return self.needs is None or importlib.util.find_spec(self.needs) is not None

    def text(self) -> str:
        """The item's part of a script."""
        name = self.name
        text = f"""
{dedent(self.define)}
{name}_thing = {self.thing}

def {name}_examine(thing):
    return {self.examine}

def {name}_argument(thing):
    return {name}_examine(thing)

def {name}_result(thing):
    return {name}_thing

def {name}_global(thing):
    return {name}_examine({name}_thing)

def {name}_annotation(thing: {name}_thing) -> {name}_thing:
    return {name}_examine({name}_annotation.__annotations__["return"])
"""
        for position in POSITIONS:
            argument, returns = "thing", ""
            if position == "annotation":
                argument, returns = f"thing: {name}_thing", f" -> {name}_thing"
            inside = f"{name}_examine({name}_annotation.__annotations__['return'])"
            body = {
                "argument": f"{name}_examine(thing)",
                "result": f"{name}_thing",
                "global": f"{name}_examine({name}_thing)",
                "annotation": inside,
            }[position]
            text += f"""
@task_token_guard()
def {name}_{position}_guarded({argument}){returns}:
    return {body}
"""
        return text


HEAD: Final = """
import abc, array, collections, contextvars, copyreg, ctypes, dataclasses, datetime, decimal
import enum, fractions, functools, inspect, itertools, json, logging, math, operator, os, pathlib
import pickle, random, re, string, struct, sys, threading, types, typing, uuid, weakref, zoneinfo
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tokengate_mp import (
    OperationsCoordinator, PayloadError, TokenGateExecutor, register_joblib_backend,
    shutdown_joblib_backend, task_token_guard,
)
"""

TAIL: Final = """
def outcome(call, examine=lambda value: value):
    try:
        return ["value", repr(examine(call()))]
    except PayloadError as error:
        return ["refused", f"{error} <- {error.__cause__!r}"]
    except Exception as error:
        return ["error", f"{type(error).__name__}: {error}"]

def arguments(name, position):
    return [globals()[name + "_thing"]] if position == "argument" else [None]

def here(name, position):
    function = globals()[f"{name}_{position}"]
    return function(*arguments(name, position))

def by_doors(report):
    import joblib
    register_joblib_backend()
    with OperationsCoordinator(cores=2) as coordinator, TokenGateExecutor(1) as executor:
        with joblib.parallel_config(backend="tokengate", n_jobs=1):
            doors = {
                "decorator": lambda name, position, args: (
                    globals()[f"{name}_{position}_guarded"](*args).get(60)
                ),
                "executor": lambda name, position, args: (
                    executor.submit(globals()[f"{name}_{position}"], *args).result(60)
                ),
                "map": lambda name, position, args: (
                    list(coordinator.map(globals()[f"{name}_{position}"], args))[0]
                ),
                "joblib": lambda name, position, args: (
                    joblib.Parallel(n_jobs=2)(
                        joblib.delayed(globals()[f"{name}_{position}"])(*args) for _ in "a"
                    )[0]
                ),
            }
            through(doors, report)
    shutdown_joblib_backend()

def by_pool(report):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        door = lambda name, position, args: (
            pool.submit(globals()[f"{name}_{position}"], *args).result(60)
        )
        through({"pool": door}, report)
    report.update({
        f"{name} {position} here": outcome(
            lambda: here(name, position),
            globals()[name + "_examine"] if position == "result" else lambda value: value,
        )
        for name in NAMES for position in POSITIONS
    })

def through(doors, report):
    for name in NAMES:
        for position in POSITIONS:
            unchanged = lambda value: value
            examine = globals()[name + "_examine"] if position == "result" else unchanged
            for door, call in doors.items():
                got = outcome(lambda: call(name, position, arguments(name, position)), examine)
                report[f"{name} {position} {door}"] = got

if __name__ == "__main__":
    report = {}
    {"doors": by_doors, "pool": by_pool}[sys.argv[1]](report)
    sys.stdout.write(json.dumps(report))
"""


def script(items: list[Item]) -> str:
    """The text of a script that runs the cells of these items, and prints what came of each."""
    names = [item.name for item in items]
    parts = [HEAD, f"NAMES = {names!r}\nPOSITIONS = {POSITIONS!r}\n"]
    return "".join([*parts, *(item.text() for item in items), TAIL])
