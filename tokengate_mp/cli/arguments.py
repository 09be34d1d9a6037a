"""What the command line can be asked for."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

WAVES = 15
"""Waves of the demo when nothing else is asked for: 4 to 65,536 tokens."""

ROWS = (
    *("noop", "trip", "mix", "10us", "100us", "1ms", "10ms", "uneven", "start", "first"),
    *("joblib", "joblib-first", "memory", "growth", "child", "chained", "diamond", "tagged"),
    *("kill", "stuck", "replaced", "guarded"),
    *("submit", "map", "map-mix", "map-uneven"),
    *("there", "back", "shared", "stall"),
)
"""The benchmark's rows. Written out, so that parsing loads no benchmark; a test compares."""


COMPARING = """
With --compare FILE our own figures are compared with those of FILE, at equal rows, sizes and cores.
A figure is worse if its median is worse by more than its spread: the largest less the smallest
sample, of whichever run has more of that; and by a hundredth at the least. It takes three samples
in both runs to say so (--repeat); with fewer there is the ratio alone. Rows that only one of the
runs has are listed. --against none leaves out the competitors, --only the other rows. Exit codes: 0
no figure is worse, 1 a figure is worse or failed, 2 FILE cannot be compared with.
"""
"""How `bench --compare` judges, for its help."""


OTHERS = ("loop", "PPE", "Pool", "shares", "asyncio", "loky", "pebble", "joblib")
"""Whom the benchmark compares with; written out for the same reason."""


PICTURES = (".svg", ".png")
"""What the benchmark can draw; written out for the same reason."""


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the parsed `argv`; `command` and, for the demo, `which` name the thing asked for.

    Raises:
        SystemExit: Wrong usage (code 2), or the help was asked for (code 0).
    """
    asked = _parser().parse_args(argv)
    if asked.command is None:
        return _parser().parse_args(["demo"])
    return asked


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tokengate-mp",
        description="Shows, measures and examines tokengate_mp on this machine.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_demo(
        commands.add_parser(
            "demo", help="run waves of mixed work (default), pi, burst, storm, or conductor"
        )
    )
    _add_bench(
        commands.add_parser(
            "bench",
            help="measure it against what else there is",
            description="Measures tokengate_mp against what else there is, in one run.",
            epilog=COMPARING,
        )
    )
    _add_soak(
        commands.add_parser(
            "soak", help="kill core processes under load, and prove that nothing came of it"
        )
    )
    commands.add_parser("doctor", help="show what this machine gives, and what is wrong with it")
    return parser


def _add_demo(demo: argparse.ArgumentParser) -> None:
    demo.set_defaults(which="waves")
    _add_cores(demo, None)
    demo.add_argument(
        "--waves",
        type=_whole(1, 20),
        default=WAVES,
        metavar="N",
        help="how many doubling waves, from 4 tokens on (default: %(default)s)",
    )
    kinds = demo.add_subparsers(metavar="KIND")
    pi = kinds.add_parser("pi", help="Leibniz's series as a tree of tokens, its digits checked")
    pi.set_defaults(which="pi")
    _add_cores(pi, argparse.SUPPRESS)
    pi.add_argument(
        "--terms",
        type=_whole(1, 100_000_000),
        default=1_000_000,
        metavar="N",
        help="how many terms (default: %(default)s)",
    )
    pi.add_argument(
        "--progress",
        choices=("rich", "tqdm"),
        help="draw its bar by that, in a terminal or not (default: rich, in a terminal)",
    )
    storm = kinds.add_parser("storm", help="equal calls in waves: each key stays on one core")
    storm.set_defaults(which="storm")
    _add_cores(storm, argparse.SUPPRESS)
    burst = kinds.add_parser("burst", help="a few equal tokens at once, then a sustained window")
    burst.set_defaults(which="burst")
    _add_cores(burst, argparse.SUPPRESS)
    burst.add_argument(
        "--seconds",
        type=_seconds,
        default=30.0,
        metavar="S",
        help="length of the sustained window (default: %(default)g)",
    )
    burst.add_argument(
        "--tokens",
        type=_whole(1, 10_000),
        default=8,
        metavar="N",
        help="tokens of the burst (default: %(default)s)",
    )
    conductor = kinds.add_parser("conductor", help="three leads whose children stay with them")
    conductor.set_defaults(which="conductor")
    _add_cores(conductor, argparse.SUPPRESS)


def _add_bench(bench: argparse.ArgumentParser) -> None:
    _add_cores(bench, None)
    bench.add_argument(
        "--repeat",
        type=_whole(1, 1_000),
        metavar="N",
        help="samples of each figure, of which the median counts (default: 5, with --quick 1)",
    )
    bench.add_argument(
        "--only",
        type=_some_of("row", ROWS),
        default=ROWS,
        metavar="ROWS",
        help=f"a list of rows, with commas: {', '.join(ROWS)}",
    )
    bench.add_argument(
        "--against",
        type=_some_of("competitor", OTHERS, none="none"),
        default=OTHERS,
        metavar="NAMES",
        help=f"a list of competitors, with commas: {', '.join(OTHERS)}; or none",
    )
    bench.add_argument(
        "--quick",
        action="store_true",
        help="a few small sizes: shows that it works, and is no measurement",
    )
    bench.add_argument(
        "--json", metavar="FILE", help="write machine, versions and every raw sample to FILE"
    )
    bench.add_argument(
        "--compare",
        metavar="FILE",
        help="compare with FILE, which an earlier run wrote with --json: the ratio of each figure "
        "(above 1 is better), and exit with 1 if a figure is worse by more than its spread",
    )
    bench.add_argument(
        "--plot",
        type=_picture,
        metavar="FILE",
        help="draw throughput by token count and speed-up by duration to FILE, .svg or .png",
    )
    bench.add_argument("--strict", action="store_true", help="exit with 1 if a target is missed")


def _add_soak(soak: argparse.ArgumentParser) -> None:
    _add_cores(soak, None)
    soak.add_argument(
        "--seconds",
        type=_seconds,
        default=30.0,
        metavar="S",
        help="how long tokens are made (default: %(default)g)",
    )
    soak.add_argument(
        "--kills-per-second",
        type=_rate,
        default=2.0,
        metavar="K",
        dest="kills",
        help="how many core processes are killed in a second, on average (default: %(default)g)",
    )
    soak.add_argument(
        "--seed",
        type=_whole(0, 2**63),
        metavar="N",
        help="of everything that is chosen by chance (default: another one each time)",
    )
    soak.add_argument("--json", metavar="FILE", help="write what was found to FILE")


def _add_cores(parser: argparse.ArgumentParser, default: object) -> None:
    parser.add_argument(
        "--cores",
        type=_whole(1, 4_096),
        default=default,
        metavar="N",
        help="core domains, and worker processes of others (default: the CPUs it may use)",
    )


class _whole:  # noqa: N801 - used as a function, and its name is what argparse prints
    def __init__(self, low: int, high: int) -> None:
        self._low, self._high = low, high

    def __call__(self, text: str) -> int:
        try:
            number = int(text.replace("_", "").replace(",", ""))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if not self._low <= number <= self._high:
            raise argparse.ArgumentTypeError(
                f"{number:,} is not from {self._low:,} to {self._high:,}"
            )
        return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return seconds


def _picture(text: str) -> str:
    if not text.lower().endswith(PICTURES):
        raise argparse.ArgumentTypeError(
            f"{text!r} ends in none of {', '.join(PICTURES)}, which say what to draw"
        )
    return text


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= rate <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 100")
    return rate


def _some_of(
    kind: str, all_of_them: tuple[str, ...], none: str | None = None
) -> Callable[[str], tuple[str, ...]]:
    def chosen(text: str) -> tuple[str, ...]:
        if none is not None and text.strip() == none:
            return ()
        asked = {part.strip() for part in text.split(",")} - {""}
        unknown = sorted(asked.difference(all_of_them))
        if unknown or not asked:
            named = f"is called {', '.join(map(repr, unknown))}" if unknown else "is named"
            raise argparse.ArgumentTypeError(
                f"no {kind} {named}; there are {', '.join(all_of_them)}"
            )
        return tuple(name for name in all_of_them if name in asked)

    return chosen
