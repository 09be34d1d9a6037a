"""What tokens of these tests do. Core processes import it, so it is light: no test framework."""

from __future__ import annotations

import os
from typing import Any

import gates

from tokengate_mp import task_token_guard

hoarded: list[bytearray] = []
prepared: list[Any] = []


@task_token_guard(operation_type="hoard")
def hoard(size: int) -> int:
    """Keep so many bytes for good, and say in which process."""
    hoarded.append(bytearray(os.urandom(1) * size))
    return os.getpid()


@task_token_guard(operation_type="late_child")
def late_child(address: gates.Address) -> tuple[int, int]:
    """Wait at a gate, and then for a token made after that; the process of either."""
    gates.wait_at(address, "parent")
    return os.getpid(), whereabouts("").get()


@task_token_guard(operation_type="polled_child")
def polled_child(address: gates.Address) -> int:
    """Make a token, and wait at a gate until the test has seen it at another one."""
    child = whereabouts("polled", address)
    gates.wait_at(address, "parent")
    return child.get()


@task_token_guard(operation_type="whereabouts")
def whereabouts(name: str = "", address: gates.Address | None = None) -> int:
    """Say in which process, after a wait at a gate if there is one."""
    if address is not None:
        gates.wait_at(address, name)
    return os.getpid()


@task_token_guard(operation_type="lead", external_calls=["link"])
def lead(address: gates.Address, count: int) -> list[Any]:
    """Make tokens of a chain, the first before and the others after a wait at a gate."""
    first = link(address, "0")
    gates.wait_at(address, "lead")
    return [first, *(link(address, str(n)) for n in range(1, count))]


@task_token_guard(operation_type="link")
def link(address: gates.Address, name: str) -> str:
    """Wait at a gate."""
    return gates.wait_at(address, name)


@task_token_guard(operation_type="anchored", sticky_anchor="anchor")
def anchored(key: int, address: gates.Address, name: str = "") -> int:
    """Wait at a gate, on the core that its key is pinned to."""
    gates.wait_at(address, name)
    return os.getpid()


def prepare(*values: Any) -> None:
    """Keep values, as an initializer."""
    prepared.extend(values)


@task_token_guard(operation_type="what_is_prepared")
def what_is_prepared() -> tuple[int, list[Any]]:
    """Give what the initializer has kept."""
    return os.getpid(), prepared


def refuse(text: str) -> None:
    """Fail, as an initializer."""
    raise ValueError(text)


async def prepare_later() -> None:
    """Be no function for an initializer."""
