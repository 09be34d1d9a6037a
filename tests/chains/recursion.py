"""What tokens of these tests do: they make tokens."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import os
import threading
import time
from pathlib import Path
from typing import Any

import gates
from work import gated, spinning

from tokengate_mp import task_token_guard, this_process


@task_token_guard(operation_type="fib")
def fib(n: int) -> int:
    """Naively, a token for each call."""
    if n < 2:
        return n
    left, right = fib(n - 1), fib(n - 2)
    return left.get() + right.get()


@task_token_guard(operation_type="merge_sort")
def merge_sort(values: list[int]) -> list[int]:
    """Each half in a token."""
    if len(values) < 2:
        return values
    middle = len(values) // 2
    left, right = merge_sort(values[:middle]), merge_sort(values[middle:])
    merged: list[int] = []
    a, b = left.get(), right.get()
    while a and b:
        merged.append(a.pop(0) if a[0] <= b[0] else b.pop(0))
    return [*merged, *a, *b]


@task_token_guard(operation_type="plus_one")
def plus_one(n: int) -> int:
    """Next to nothing to do."""
    return n + 1


@task_token_guard(operation_type="fan_out")
def fan_out(width: int) -> int:
    """Many tokens, and then all their results."""
    tokens = [plus_one(n) for n in range(width)]
    return sum(token.get() for token in tokens)


@task_token_guard(operation_type="descend")
def descend(depth: int) -> int:
    """As deep as is said."""
    return 0 if depth == 0 else descend(depth - 1).get() + 1


@task_token_guard(operation_type="bottomless")
def bottomless(address: gates.Address, depth: int) -> int:
    """A recursion without an end; it reports when it is deep."""
    if depth == 100:
        gates.report_to(address)
    return bottomless(address, depth + 1).get()


_left: list[Any] = []


@task_token_guard(operation_type="leave_there")
def leave_there(address: gates.Address) -> None:
    """Make a token that stays at a gate, and leave it to whoever comes."""
    _left.append(gated(address, "opened"))


@task_token_guard(operation_type="wait_for_left")
def wait_for_left(address: gates.Address) -> str:
    """Wait for what was left."""
    gates.report_to(address)
    result: str = _left[-1].get()
    return result


@task_token_guard(operation_type="children")
def children(count: int) -> dict[str, Any]:
    """Give the tokens themselves."""
    return {"all": [plus_one(n) for n in range(count)]}


@task_token_guard(operation_type="grandchildren")
def grandchildren(count: int) -> Any:
    """Give the tokens that another token has given."""
    return children(count).get()["all"]


@task_token_guard(operation_type="held")
def held(address: gates.Address, name: str = "") -> str:
    """Wait at a gate, off the CPU."""
    return gates.wait_at(address, name)


@task_token_guard(operation_type="wait_for_held")
def wait_for_held(address: gates.Address, timeout: float | None = None) -> str:
    """Wait for a token that waits at a gate."""
    return held(address, "child").get(timeout)


@task_token_guard(operation_type="goes_on_after_held", external_calls=["held"])
def goes_on_after_held(address: gates.Address, after: gates.Address) -> None:
    """Report to another gate once a member, which waits at one, has ended, however it has."""
    with contextlib.suppress(Exception):
        held(address, "member").get()
    gates.report_to(after)


@task_token_guard(operation_type="heard_of_its_end")
def heard_of_its_end(token_id: str) -> bool:
    """Whether this process has heard that a token was ended, which it is or was running."""
    number, crew = int(token_id.rpartition("-")[2]), this_process.calls._crew
    return number in crew.interrupts.unwanted or number not in crew.mailbox.running_tokens()


@task_token_guard(operation_type="status")
def status_of_held(address: gates.Address) -> tuple[str, list[str], bool]:
    """Look at a token before and after it has ended."""
    token = held(address, "child")
    seen = [token.state.value]
    token.get()
    return token.token_id, [*seen, token.state.value], token.done()


@task_token_guard(operation_type="fails")
def fails(message: str) -> None:
    """Raise."""
    raise ValueError(message)


@task_token_guard(operation_type="catches")
def catches(message: str) -> tuple[str, str]:
    """Catch what a token raised."""
    try:
        fails(message).get()
    except ValueError as error:
        return str(error), type(error.__cause__).__name__
    return "", ""


@task_token_guard(operation_type="awaits")
def awaits(number: int) -> str:
    """Await a child, which can only be got."""

    async def main() -> int:
        return await fib(number)

    try:
        asyncio.run(main())
    except TypeError as error:
        return str(error)
    return "awaited"


@task_token_guard(operation_type="exits")
def exits(code: int) -> None:
    """End the process."""
    os._exit(code)


@task_token_guard(operation_type="waits_for_exit")
def waits_for_exit(code: int) -> str:
    """Wait for a token that ends its process; perhaps this one."""
    try:
        exits(code).get()
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return type(error).__name__
    return ""


@task_token_guard(operation_type="kills_child")
def kills_child(address: gates.Address) -> tuple[str, str]:
    """Kill a token that was made here."""
    token = held(address, "victim")
    token.kill("not needed")
    plus_one(1).get()  # what comes down the ring before this result has come by then
    try:
        token.get()
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return type(error).__name__, token.state.value
    return "", ""


@task_token_guard(operation_type="in_threads")
def in_threads(count: int) -> int:
    """Wait for tokens in threads of its own, and for those threads."""
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(plus_one(n).get())) for n in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(found)


@task_token_guard(operation_type="total")
def total(numbers: Any, *more: Any, start: Any = 0) -> Any:
    """Add up whatever tokens were passed."""
    return sum(numbers) + sum(more) + start


@task_token_guard(operation_type="passes_tokens")
def passes_tokens(n: int) -> list[int]:
    """Pass tokens on as arguments: plain, in a structure, by name, ended or not."""
    ended = plus_one(n)
    ended.get()
    again = plus_one(plus_one(plus_one(n)))
    nested = total([plus_one(n), again], plus_one(again), start=plus_one(ended))
    both = [plus_one(nested), again]
    shared = total([again, again], again)
    return [again.get(), nested.get(), both[0].get(), shared.get(), plus_one(ended).get()]


@task_token_guard(operation_type="long_line")
def long_line(length: int) -> int:
    """Each needs the one before it."""
    token: Any = 0
    for _ in range(length):
        token = plus_one(token)
    return token.get()


@task_token_guard(operation_type="makes_line")
def makes_line(length: int) -> Any:
    """Give the last token of a line, unended, and no other."""
    token: Any = 0
    for _ in range(length):
        token = plus_one(token)
    return [token]


@task_token_guard(operation_type="waits_for_line")
def waits_for_line(length: int) -> int:
    """Wait for a token of whose needs nothing is known here."""
    return makes_line(length).get()[0].get()


@task_token_guard(operation_type="passes_failure")
def passes_failure() -> tuple[str, str]:
    """Pass on a token that fails."""
    try:
        plus_one(fails("as said")).get()  # type: ignore[arg-type]
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return type(error).__name__, str(error)
    return "", ""


@task_token_guard(operation_type="add_tree")
def add_tree(low: int, high: int) -> int:
    """A tree of sums, each with the sums below as arguments; nothing is waited for but the last."""
    stage: list[Any] = [plus_one(n) for n in range(low, high)]
    while len(stage) > 1:
        stage = [total(stage[n : n + 3]) for n in range(0, len(stage), 3)]
    return stage[0].get()


@task_token_guard(operation_type="where", sticky_anchor="here")
def where(_key: Any, address: gates.Address | None = None) -> int:
    """Give the process."""
    if address is not None:
        gates.wait_at(address)
    return os.getpid()


@task_token_guard(operation_type="calls_anchored")
def calls_anchored(count: int, key: Any) -> list[int]:
    """Call a function with an anchor, some of the calls with tokens."""
    tokens = [where(key) for _ in range(count)] + [where(plus_one(1)) for _ in range(count)]
    return [token.get() for token in reversed(tokens)]


@task_token_guard(operation_type="holds_key")
def holds_key(address: gates.Address) -> list[Any]:
    """Have tokens of one key wait at a gate."""
    return [where("key", address) for _ in range(3)]


@task_token_guard(operation_type="maps")
def maps(count: int, *, ordered: bool) -> list[int]:
    """Map inside a token."""
    return list(plus_one.map(range(count), ordered=ordered))


@task_token_guard(operation_type="forgets")
def forgets(count: int) -> int:
    """Make tokens, and keep none."""
    for n in range(count):
        plus_one(n)
    return count


@task_token_guard(operation_type="same_token")
def same_token(count: int) -> int:
    """Wait for one token in many threads, and twice."""
    token = plus_one(41)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(token.get())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(found) + token.get()


@task_token_guard(operation_type="large")
def large(size: int) -> int:
    """Send and get what fits no ring."""
    return len(twice(b"x" * size).get())


@task_token_guard(operation_type="twice")
def twice(data: bytes) -> bytes:
    """Give the data, and once more."""
    return data + data


@task_token_guard(operation_type="forks")
def forks() -> int:
    """Call in a fork of a core process: its exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            plus_one(1)
        except RuntimeError:
            os._exit(7)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@task_token_guard(operation_type="fails_twice", retries=3)
def fails_twice(path: str) -> str:
    """Fail in the first two runs, which a file counts."""
    with Path(path).open("a+", encoding="utf-8") as file:
        file.write("x")
        file.seek(0)
        runs = len(file.read())
    if runs < 3:
        raise ValueError(runs)
    return f"{runs} runs"


@task_token_guard(operation_type="retries")
def retries(path: str) -> str:
    """Wait for a token that is run again."""
    return fails_twice(path).get()


@task_token_guard(operation_type="slow")
def slow() -> None:
    """Take long, in short steps."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        time.sleep(0.001)


@task_token_guard(operation_type="waits_for_slow")
def waits_for_slow(seconds: float) -> str:
    """Wait for a token that has less time than it needs."""
    try:
        slow.options(timeout=seconds)().get()
    except TimeoutError as error:
        return type(error).__name__
    return ""


@task_token_guard(operation_type="waits_twice")
def waits_twice(address: gates.Address) -> None:
    """Wait for a token that waits at a gate, again and again."""
    gates.report_to(address)
    while True:
        plus_one(1).get()


@task_token_guard(operation_type="member")
def member(n: int, seconds: float = 0.0) -> tuple[int, int]:
    """Give the square, and the process."""
    time.sleep(seconds)
    return n * n, os.getpid()


@task_token_guard(operation_type="lead", external_calls=["member"])
def lead(count: int, seconds: float = 0.0) -> tuple[int, str | None, list[Any]]:
    """Lead a chain: the process, and the tokens of its members."""
    return os.getpid(), None, [member(n, seconds) for n in range(count)]


@task_token_guard(operation_type="leading", external_calls=["fib"])
def leading(n: int) -> int:
    """Recursion in one chain."""
    return fib(n).get()


@task_token_guard(operation_type="seeds", external_calls=["member"])
def seeds() -> tuple[list[str | None], list[str | None]]:
    """Give the seeds of tokens made here, in a copied context, and in a bare thread."""
    found: list[str | None] = []

    def call() -> None:
        found.append(member(1).seed)

    copied = threading.Thread(target=contextvars.copy_context().run, args=(call,))
    copied.start()
    copied.join()
    bare = threading.Thread(target=call)
    bare.start()
    bare.join()
    return [member(1).seed, *inner_seeds().get()], found


@task_token_guard(operation_type="inner_seeds")
def inner_seeds() -> list[str | None]:
    """Give the seeds of a token made further down, and of a lead made there."""
    inner = lead(1)
    inner.get()
    return [member(2).seed, inner.seed]


@task_token_guard(operation_type="gathers_at", external_calls=["held"])
def gathers_at(address: gates.Address, count: int) -> list[str]:
    """Have members wait at a gate, and wait for them."""
    tokens = [held(address, str(n)) for n in range(count)]
    return [token.get() for token in tokens]


@task_token_guard(operation_type="leaves_behind", external_calls=["held"])
def leaves_behind(address: gates.Address, count: int) -> list[Any]:
    """Have members wait at a gate, and do not wait for them."""
    return [held(address, str(n)) for n in range(count)]


@task_token_guard(operation_type="leads_a_lead", external_calls=["lead"])
def leads_a_lead() -> tuple[int, int, list[tuple[int, int]]]:
    """Lead a chain with a lead in it: the processes of both, and what its members gave."""
    pid, _, members = lead(3).get()
    return os.getpid(), pid, [token.get() for token in members]


@task_token_guard(operation_type="below_three")
def below_three(n: int) -> int:
    """Fail from the fourth item on."""
    if n > 2:
        raise ValueError(n)
    return n + 1


@task_token_guard(operation_type="maps_endlessly")
def maps_endlessly() -> tuple[int, list[int]]:
    """Map over items without an end, until one fails: its index, and what came before it."""
    found: list[int] = []
    try:
        for result in below_three.map(itertools.count(), buffersize=8):
            found.append(result)  # noqa: PERF402 - what was found before an error is to be seen
    except ValueError as error:
        return error.item_index, found  # type: ignore[attr-defined]
    return -1, found


@task_token_guard(operation_type="dies_after", external_calls=["plus_one"])
def dies_after(count: int) -> None:
    """Get so many members, make one more, and end the process."""
    for n in range(count):
        plus_one(n).get()
    plus_one(count)
    os._exit(3)


@task_token_guard(operation_type="dawdle_and_wait")
def dawdle_and_wait(first: gates.Address, held: gates.Address) -> str:
    """Make a token, and wait for it only when it lies in this very process."""
    other, child = plus_one(1), spinning(held, "child")
    gates.spin_at(first, "dawdler")
    other.get()  # this thread reads the mail meanwhile
    return child.get()


@task_token_guard(operation_type="keep_and_spin")
def keep_and_spin(begun: gates.Address, held: gates.Address) -> object:
    """Make a token, and keep it."""
    kept = spinning(held, "kept")
    gates.spin_at(begun, "keeper")
    return kept


@task_token_guard(operation_type="leave_and_spin")
def leave_and_spin(begun: gates.Address, held: gates.Address) -> None:
    """Make a token, and keep it not."""
    spinning(held, "left")
    gates.spin_at(begun, "leaver")


@task_token_guard(operation_type="hand_over")
def hand_over(address: gates.Address) -> list[Any]:
    """Make a token, and give it to the caller."""
    return [spinning(address, "handed over")]


@task_token_guard(operation_type="hold_and_spin")
def hold_and_spin(begun: gates.Address, held: list[Any]) -> list[Any]:
    """Compute, with what another token has given."""
    gates.spin_at(begun, "holder")
    return held
