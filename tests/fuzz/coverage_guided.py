"""Fuzzes every decoder, led by what the inputs reach.

It is run by hand:

    pip install atheris
    python tests/fuzz/coverage_guided.py -max_total_time=600 [folder with inputs]

Options are those of libFuzzer. An input that raises anything but the documented errors is written
to `crash-…` and ends the run with its traceback.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["tokengate_mp"]):
    import targets


def one_input(data: bytes) -> None:
    """Give one input to one target: its first byte says which."""
    if data:
        targets.TARGETS[data[0] % len(targets.TARGETS)](data[1:])


def main() -> None:
    """Fuzz, from the valid records on, until told to stop."""
    arguments = sys.argv
    if not any(not word.startswith("-") for word in arguments[1:]):
        seeds = Path(tempfile.mkdtemp(prefix="tokengate-fuzz-"))
        for place, record in enumerate(targets.VALID):
            for which in range(len(targets.TARGETS)):
                (seeds / f"{place}-{which}").write_bytes(bytes([which]) + record)
        arguments = [*arguments, str(seeds)]
    atheris.Setup(arguments, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
