from __future__ import annotations

import random
from itertools import islice

import pytest
from simulator import DELAY, Simulation
from steps import steps

from tokengate_mp.scheduling.model import pacing

OPERATIONS = (  # name, weight, part of all tokens, shortest and longest run in µs
    ("parse", "light", 0.35, 10, 60),
    ("filter", "light", 0.25, 50, 200),
    ("sort", "medium", 0.25, 100, 700),
    ("solve", "heavy", 0.1495, 500, 1500),
    ("train", "heavy", 0.0005, 20_000, 60_000),
)


def mixed(simulation, tokens):
    """Calls of all operations in a fixed disorder."""
    dice = random.Random(64)
    parts = [part for _, _, part, _, _ in OPERATIONS]
    kinds = [
        (simulation.scheduler.operations.declare(name, weight), low, high)
        for name, weight, _, low, high in OPERATIONS
    ]
    for operation, low, high in dice.choices(kinds, parts, k=tokens):
        yield operation, 1000 * (low + int((high - low) * dice.random()))


def call_in_bursts(simulation, tokens, *, burst, apart):
    """Let tokens be called at 1 µs each, and after every so many let `apart` ns pass in all."""
    calls = mixed(simulation, tokens)
    for start in range(0, tokens, burst):
        for offset in range(0, burst, 500):
            at = start // burst * apart + offset * 1_000
            simulation.call_at(at, list(islice(calls, 500)))


def test_a_million_tokens_on_64_cores():
    """No core is idle while work waits, but for the time that a message takes there and back."""
    tokens, cores = 1_000_000, 64
    simulation = Simulation(cores)
    # A burst lasts the cores some 260 ms, so most bursts find work waiting, and some find none.
    call_in_bursts(simulation, tokens, burst=50_000, apart=270_000_000)
    simulation.run()

    snapshot = simulation.scheduler.snapshot()
    simulation.scheduler.validate()
    assert snapshot.completed == tokens
    assert simulation.scheduler.accounts.unended_count == 0
    assert {view.weight for view in snapshot.operations.values()} == {"light", "medium", "heavy"}
    assert simulation.idle_beside_waiting == 0
    assert simulation.longest_gap <= 2 * DELAY
    assert simulation.lost < simulation.busy / 500


def test_strict_routing_leaves_no_core_of_a_range_idle():
    """Under strict routing too, no core holds nothing while a token waits that it may run."""
    simulation = Simulation(8, "strict")
    simulation.call_at(0, list(mixed(simulation, 20_000)))
    simulation.run()
    assert simulation.scheduler.snapshot().completed == 20_000
    assert simulation.idle_beside_waiting == 0


def test_tokens_behind_one_that_never_ends_are_taken_elsewhere():
    """What lies behind a stuck token ends, on other cores, within a few recalls."""
    simulation = Simulation(2)
    operation = simulation.scheduler.operations.declare("work", "medium")
    forever = 3_600_000_000_000
    simulation.call_at(0, [(operation, 200_000)] * 50 + [(operation, forever)])
    simulation.call_at(0, [(operation, 200_000)] * 500)
    simulation.run(until=1_000_000_000)
    assert simulation.scheduler.accounts.unended_count == 1
    assert simulation.recalls == 1


@pytest.mark.parametrize("routing", ["strict", "work_conserving"])
def test_a_token_costs_the_same_on_any_number_of_cores(routing, monkeypatch):
    """From 2 to 256 cores, the lines of code executed for each token stay within a fifth."""
    monkeypatch.setattr(pacing, "DEEP_NS", pacing.WINDOW_NS)  # the fewer cores the deeper, else
    tokens = 4_000
    costs = []
    for cores in (2, 16, 64, 256):
        simulation = Simulation(cores, routing)
        for name, weight, _, low, high in OPERATIONS:
            known = simulation.scheduler.operations.declare(name, weight)
            known.observe([500 * (low + high)], blocking=False)
        simulation.call_at(0, list(mixed(simulation, tokens)))
        costs.append(steps(simulation.run) / tokens)
        assert simulation.scheduler.accounts.unended_count == 0
    assert max(costs) < 1.2 * min(costs), costs
