from __future__ import annotations

import hashlib
import random
import string
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from tokengate_mp.bench.work import workloads
from tokengate_mp.bench.work.workloads import (
    burn,
    cpu_crunch,
    data_sort,
    hash_chain,
    mix_call,
    noop,
    string_transform,
    uneven_durations,
)


@pytest.mark.parametrize(
    ("limit", "total"), [(0, 0), (2, 0), (3, 2), (7, 10), (10, 17), (84, 874), (1000, 76127)]
)
def test_cpu_crunch_sums_the_primes_below(limit, total):
    """The sum is that of the primes strictly below the limit (known values)."""
    assert cpu_crunch(limit) == total


def test_string_transform_is_300_letters_without_the_replaced_ones():
    """The text has 300 characters: capitals other than A, E and I, and the digits for those."""
    text = string_transform(31)
    assert len(text) == 300
    assert set(text) <= set(string.ascii_uppercase) - set("AEI") | set("431")


def test_string_transform_reverses_before_all_else():
    """Letter by letter from the end, in capitals, with A, E and I as 4, 3 and 1."""
    letters = random.Random(62).choices(string.ascii_letters, k=300)
    expected = ""
    for letter in letters:
        expected = {"A": "4", "E": "3", "I": "1"}.get(letter.upper(), letter.upper()) + expected
    assert string_transform(62) == expected


def test_data_sort_orders_what_its_size_draws():
    """The numbers are those that the size as a seed draws, each at most its successor."""
    numbers = data_sort(450)
    drawn = random.Random(450).choices(range(1_000_000), k=450)
    assert len(numbers) == 450
    assert all(a <= b for a, b in pairwise(numbers))
    assert {n: numbers.count(n) for n in numbers} == {n: drawn.count(n) for n in drawn}


def test_hash_chain_hashes_the_hex_of_the_round_before():
    """No round leaves the seed; one is SHA-256 of it (FIPS 180); two hash the hex of one."""
    once = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_chain("abc", 0) == "abc"
    assert hash_chain("abc", 1) == once
    assert hash_chain("abc", 2) == hashlib.sha256(once.encode("ascii")).hexdigest()


def test_the_mix_goes_round_by_four_and_each_kind_by_its_own_size():
    """Token i has the kind i % 4 and the size that the spec gives it."""
    assert mix_call(0) == (cpu_crunch, (60,))
    assert mix_call(24) == (cpu_crunch, (84,))
    assert mix_call(100) == (cpu_crunch, (60,))
    assert mix_call(5) == (string_transform, (155,))
    assert mix_call(298) == (data_sort, (698,))
    assert mix_call(302) == (data_sort, (402,))
    assert mix_call(79) == (hash_chain, ("wave_seed_79", 199))
    assert mix_call(83) == (hash_chain, ("wave_seed_83", 123))


def test_burn_uses_at_least_the_cpu_time_asked_for_and_returns_it():
    """The thread's CPU clock has gone on by no less than was asked for."""
    before = time.thread_time_ns()
    assert burn(2_000_000) == 2_000_000
    assert time.thread_time_ns() - before >= 2_000_000


def test_noop_returns_nothing():
    """A no-op's result is None, which the checks of its rows rely on."""
    assert noop() is None


def test_uneven_durations_have_the_long_ones_at_drawn_places():
    """The counts are exact, a seed gives the same places again, and another one others."""
    durations = uneven_durations(200, 10, 1000, 100, seed=1)
    assert sorted(durations) == [1000] * 190 + [100_000] * 10
    assert durations == uneven_durations(200, 10, 1000, 100, seed=1)
    assert durations != uneven_durations(200, 10, 1000, 100, seed=2)


def test_what_core_processes_import_loads_nothing_heavy():
    """Importing the workloads loads neither asyncio nor dataclasses nor the coordinator."""
    code = (
        "import sys, tokengate_mp.bench.work.workloads, tokengate_mp.bench.work.leibniz; "
        "print([m for m in ('asyncio', 'dataclasses', 'multiprocessing', 'concurrent', "
        "'tokengate_mp.coordinator', 'tokengate_mp.calls.decorator') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"


def test_plain_functions_stay_plain():
    """A pool finds each function of the mix under its own name, undecorated."""
    for index in range(4):
        function, _ = mix_call(index)
        assert getattr(workloads, function.__name__) is function
