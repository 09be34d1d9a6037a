"""`doctor`: what this machine gives, what is wrong with it, and what to do.

It needs no extra. The packages are looked at first, and if one is missing that is needed, what
imports it is left out: the answer is a line that names it and not a traceback.
"""

from __future__ import annotations

import argparse
import platform
import sys
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module

from tokengate_mp import __version__
from tokengate_mp.bench import machine
from tokengate_mp.cli.finding import Finding, Verdict


def run(asked: argparse.Namespace) -> int:
    """Print every finding and return 1 if something is broken."""
    del asked
    print(f"tokengate_mp {__version__}: what this machine gives\n")
    findings: list[Finding] = []
    for finding in examine():
        findings.append(finding)
        print(_line(finding), flush=True)
    broken = [each for each in findings if each.verdict is Verdict.BROKEN]
    notes = [each for each in findings if each.remedy]
    if notes:
        print("\nWhat to do:")
        for each in sorted(notes, key=lambda each: each.verdict is not Verdict.BROKEN):
            print(f"  {each.verdict.value:7}{each.subject}: {each.remedy}")
    print(f"\n{len(broken)} broken." if broken else "\nNothing is broken.")
    return 1 if broken else 0


def _line(finding: Finding) -> str:
    first, *rest = finding.text.splitlines() or [""]
    head = f"  {finding.verdict.value:7}{finding.subject:19}{first}"
    return "\n".join([head, *(" " * 28 + line for line in rest)])


def examine() -> Iterator[Finding]:
    """Yield every finding, cheap findings first."""
    first = [*_interpreter(), *_packages()]
    yield from first
    if any(each.verdict is Verdict.BROKEN for each in first):
        return
    for look in import_module("tokengate_mp.cli.examination").LOOKS:
        yield from _guarded(look)


def _guarded(look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Turn an exception of an examination into a finding, so that the others still take place."""
    try:
        yield from look()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        subject = look.__name__.strip("_").replace("_", " ")
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error}\nin {last.name}, {last.filename}:{last.lineno}"
        yield Finding(subject, text, Verdict.BROKEN, "see the message; if it is unclear, report it")


def _interpreter() -> Iterator[Finding]:
    name = f"{platform.python_implementation()} {platform.python_version()}"
    if machine.gil_enabled():
        yield Finding("Python", f"{name}, {sys.executable}")
    else:
        yield Finding(
            "Python",
            f"{name} without a GIL, {sys.executable}",
            Verdict.NOTE,
            "works, but is not what tokengate_mp is tested on",
        )
    if sys.platform == "win32":
        yield Finding(
            "platform",
            platform.platform(),
            Verdict.BROKEN,
            "core processes inherit descriptors, which Windows cannot do: use Linux, macOS or WSL",
        )
    else:
        yield Finding("platform", platform.platform())


def _packages() -> Iterator[Finding]:
    for name, version in machine.package_versions(machine.CORE_PACKAGES).items():
        if version is None:
            remedy = f"pip install {name}"
            yield Finding(name, "not installed, and needed", Verdict.BROKEN, remedy)
        else:
            yield Finding(name, version)
    purposes = {
        "rich": "`demo` and `bench` draw with it: pip install 'tokengate_mp[cli]'",
        "uvloop": "a faster event loop, if you want one: pip install uvloop",
    }
    found = machine.package_versions(tuple(purposes))
    for name, purpose in purposes.items():
        yield Finding(name, found[name] or f"not installed, and not needed ({purpose})")
