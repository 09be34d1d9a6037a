"""`demo`: waves of mixed work, Leibniz's series, the burst, the cache storm, or chains."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from tokengate_mp import OperationsCoordinator
from tokengate_mp.bench.demos import burst, comparison, conductor, digits, pi, storm, waves
from tokengate_mp.bulk.bars import chosen_progress
from tokengate_mp.bulk.meter import Meter
from tokengate_mp.cli import screen
from tokengate_mp.config.cpus import usable_cpus

if TYPE_CHECKING:
    from rich.console import Console

    from tokengate_mp.cli.screen import Growing

_LOOK_EVERY = 0.2


def run(asked: argparse.Namespace) -> int:
    """Run the demo that was asked for and return the exit code."""
    console = screen.make_console()
    kinds = {
        "waves": _waves,
        "pi": _pi,
        "burst": _burst,
        "storm": _storm,
        "conductor": _conductor,
    }
    good = kinds[asked.which](console, asked)
    return 0 if good else 1


def _waves(console: Console, asked: argparse.Namespace) -> bool:
    cores = asked.cores or len(usable_cpus())
    done = asyncio.run(_run_waves(console, asked.waves, cores))
    tokens, failed = sum(wave.tokens for wave in done), sum(wave.failed for wave in done)
    seconds = sum(wave.elapsed for wave in done) / 1e9
    console.print(
        f"{tokens:,} tokens in {seconds:.2f} s ({tokens / seconds:,.0f} tok/s), {failed:,} failed; "
        f"at best {max(wave.rate for wave in done):,.0f} tok/s.\n"
        "Time includes submission. Overlap = Σ(finished − started) / time; "
        "ΣCPU/t = CPU time of all processes / time.\n"
    )
    size = max(done[-1].tokens, comparison.SMALLEST)
    screen.headline(
        console, f"The same {size:,} tokens by each, one after the other, on {cores} cores"
    )
    table = screen.make_table(("", "Time", "Tok/s", "x plain loop", "Results"))
    with screen.growing(console, table) as shown:
        contestants = comparison.compare(size, cores, lambda title: shown.say(f"{title} …"))
        loop = contestants[0]
        for each in contestants:
            shown.add(
                (
                    each.title,
                    f"{each.seconds:.3f} s",
                    f"{each.rate:,.0f}",
                    f"{loop.seconds / each.seconds:.2f}x",
                    screen.mark("equal" if each.equal else "different", good=each.equal),
                )
            )
    return failed == 0 and all(each.equal for each in contestants)


async def _run_waves(console: Console, count: int, cores: int) -> list[waves.Wave]:
    screen.headline(console, f"{count} doubling waves of the mix on {cores} cores")
    table = screen.make_table(waves.COLUMNS, left=0)
    done: list[waves.Wave] = []
    with screen.growing(console, table) as shown:
        shown.say(f"warm-up of {waves.WARM_UP} tokens …")
        async with OperationsCoordinator(cores=cores) as coordinator:
            await waves.warm_up()
            for number, size in enumerate(waves.wave_sizes(count), 1):
                async with _watching(coordinator, shown, f"wave {number}", size):
                    done.append(await waves.run_wave(coordinator, number, size))
                shown.add(done[-1].cells(done[0]))
    return done


@asynccontextmanager
async def _watching(
    coordinator: OperationsCoordinator, shown: Growing, what: str, size: int
) -> AsyncGenerator[None]:
    """Show the progress of a long wave, a few times a second."""
    loop = asyncio.get_running_loop()
    before = _ended(coordinator)
    handle: asyncio.TimerHandle

    def look() -> None:
        nonlocal handle
        shown.say(f"{what}: {_ended(coordinator) - before:,} of {size:,} tokens")
        handle = loop.call_later(_LOOK_EVERY, look)

    handle = loop.call_later(_LOOK_EVERY, look)
    try:
        yield
    finally:
        handle.cancel()


def _ended(coordinator: OperationsCoordinator) -> int:
    return sum(core["completed"] for core in coordinator.get_stats()["cores"])


def _pi(console: Console, asked: argparse.Namespace) -> bool:
    cores = asked.cores or len(usable_cpus())
    terms = asked.terms

    async def sum_up() -> str:
        with _showing(console, "terms", terms, asked.progress) as advance:
            async with OperationsCoordinator(cores=cores):
                return await pi.leibniz_pi(terms, advance)

    begin = time.perf_counter()
    value = asyncio.run(sum_up())
    seconds = time.perf_counter() - begin
    verdict = digits.check(value, terms)
    tokens = pi.token_count(terms)
    console.print(
        f"π after {terms:,} terms: {value}\n"
        f"{tokens:,} tokens in {seconds:.2f} s ({tokens / seconds:,.0f} tok/s) on {cores} cores, "
        "start and stop of the core processes included"
    )
    console.print(
        screen.mark("agrees with the sum in whole numbers", good=verdict.arithmetic_holds)
    )
    console.print(
        screen.mark(
            f"lies from π as far as the terms left out say: {verdict.plain_digits} decimals "
            f"right as it stands, {verdict.corrected_digits} with Euler's correction",
            good=verdict.bracket_holds,
        )
    )
    return verdict.holds


@contextmanager
def _showing(
    console: Console, what: str, total: int, progress: str | None
) -> Generator[Callable[[int], None]]:
    """Show progress by the bar of that name, else by the demo's own bar in a terminal."""
    if progress is None:
        with screen.bar(console, what, total) as shown:
            yield shown.advance
        return
    try:
        meter = Meter(chosen_progress(progress), total)
    except ImportError as error:
        raise ValueError(str(error)) from error  # it cannot be done as asked
    meter.begin_progress()
    try:
        yield meter.count_calls
    finally:
        meter.finish_progress()


def _burst(console: Console, asked: argparse.Namespace) -> bool:
    cores = asked.cores or len(usable_cpus())
    window = asyncio.run(_run_burst(console, cores, asked.tokens, asked.seconds))
    return window.failed == 0


def _storm(console: Console, asked: argparse.Namespace) -> bool:
    cores = asked.cores or len(usable_cpus())

    async def run_it() -> storm.Storm:
        with screen.bar(console, "waves", storm.WAVES) as shown:
            async with OperationsCoordinator(cores=cores) as coordinator:
                return await storm.run_storm(coordinator, progress=lambda _: shown.advance(1))

    passed = asyncio.run(run_it())
    screen.headline(console, f"{len(storm.KEYS)} keys in {storm.WAVES + 1} waves on {cores} cores")
    table = screen.make_table(("Key", "Tokens", "Cores", "Results"))
    for each in passed.keys:
        result = screen.mark("on one core, right" if each.good else "wrong", good=each.good)
        table.add_row(str(each.key), str(each.tokens), ", ".join(map(str, each.cores)), result)
    console.print(table)
    console.print(
        f"{sum(each.tokens for each in passed.keys)} tokens in {passed.seconds:.2f} s, "
        f"{passed.most_pins} pins meanwhile, {passed.left_pins} after"
    )
    return passed.good


async def _run_burst(console: Console, cores: int, tokens: int, seconds: float) -> burst.Window:
    async with OperationsCoordinator(cores=cores) as coordinator:
        once = await burst.run_burst(coordinator, tokens)
        lines = (
            ("submit spread", f"{once.submit_spread:.3f} ms"),
            ("wall clock", f"{once.wall:.1f} ms"),
            ("shortest", f"{once.shortest:.1f} ms"),
            ("longest", f"{once.longest:.1f} ms"),
            ("mean", f"{once.mean:.1f} ms"),
            ("standard deviation", f"{once.deviation:.1f} ms"),
            ("serial estimate", f"{once.serial:.1f} ms"),
            ("serial / wall", f"{once.ratio:.2f}x"),
            ("CPU time / wall", f"{once.cpu_ratio:.2f}x"),
        )
        screen.headline(console, f"{tokens} equal medium tokens at once on {cores} cores")
        console.print(screen.make_table(("", ""), lines))
        with screen.bar(console, f"{seconds:g} s of releases", seconds, counted=False) as shown:
            window = await burst.run_window(
                coordinator, seconds, lambda window: shown.reach(window.elapsed / 1e9)
            )
    console.print(
        f"{window.tokens:,} tokens of the mix in {window.elapsed / 1e9:.2f} s "
        f"({window.rate:,.0f} tok/s), {window.failed:,} failed\n"
        f"Σ durations / time {window.ratio:.2f}x, CPU time / time {window.cpu_ratio:.2f}x"
    )
    return window


def _conductor(console: Console, asked: argparse.Namespace) -> bool:
    cores = asked.cores or len(usable_cpus())

    async def run_chains() -> tuple[list[conductor.Chain], int]:
        async with OperationsCoordinator(cores=cores) as coordinator:
            return await conductor.run_chains(coordinator)

    begin = time.perf_counter()
    chains, left = asyncio.run(run_chains())
    seconds = time.perf_counter() - begin
    screen.headline(
        console, f"{conductor.LEADS} leads with {conductor.CHILDREN} children each on {cores} cores"
    )
    rows = [
        (
            f"{chain.seed[:16]}…",
            f"{chain.core}",
            " ".join(map(str, chain.squares)),
            "one core, one seed" if chain.together else "NOT together",
        )
        for chain in chains
    ]
    console.print(screen.make_table(("Seed", "Core", "Squares", "Together"), rows))
    different = len({chain.seed for chain in chains}) == len(chains)
    console.print(screen.mark("every chain has a seed of its own", good=different))
    console.print(screen.mark(f"{left} chains registered after", good=left == 0))
    console.print(f"{seconds:.2f} s, start and stop of the core processes included")
    return different and left == 0 and all(chain.together for chain in chains)
