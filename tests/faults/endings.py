"""Functions that are ended while they run, each heeding it in its own way."""

from __future__ import annotations

import time

import gates

from tokengate_mp import task_token_guard


@task_token_guard(operation_type="stubborn")
def catches_exceptions(address: gates.Address) -> None:
    """Go on for ever, whatever `Exception` comes."""
    gates.report_to(address)
    while True:
        try:
            sum(range(100))
        except Exception:  # noqa: BLE001, S110 - what is tested
            pass


@task_token_guard(operation_type="immortal")
def catches_everything(address: gates.Address) -> None:
    """Go on for ever, whatever comes."""
    reported = False
    while True:
        try:
            if not reported:
                reported = True
                gates.report_to(address)  # in here: it may be ended from this moment on
            while True:
                sum(range(100))
        except BaseException:  # noqa: BLE001, S110 - what is tested
            pass


@task_token_guard(operation_type="sleeper")
def sleeps(address: gates.Address) -> None:
    """Be in C code, where no exception arrives; one that comes on the way there changes nothing."""
    reported = False
    while True:
        try:
            if not reported:
                reported = True
                gates.report_to(address)
            time.sleep(3600)
        except BaseException:  # noqa: BLE001, S110 - the caller cannot see whether it sleeps already
            pass


@task_token_guard(operation_type="cleaner")
def cleans_up(address: gates.Address, cleaned: gates.Address) -> None:
    """Leave something that has to be put in order, however it ends."""
    try:
        gates.spin_at(address)
    finally:
        gates.report_to(cleaned, "cleaned")


@task_token_guard(operation_type="count")
def count_to(number: int) -> int:
    """Count, in bytecode all the time."""
    total = 0
    for _ in range(number):
        total += 1
    return total
