"""What tokens of these tests do: they hand on tokens that they were given."""

from __future__ import annotations

import os
import pickle
from typing import Any

import gates
from work import spinning

from tokengate_mp import task_token_guard, this_process
from tokengate_mp.wire.protocol.records import DROP


@task_token_guard(operation_type="tenfold")
def tenfold(number: int) -> int:
    """Next to nothing to do."""
    return number * 10


@task_token_guard(operation_type="makes")
def makes(count: int, address: gates.Address | None = None) -> list[Any]:
    """Give tokens, from behind a gate if there is one."""
    made = [tenfold(number) for number in range(count)]
    if address is not None:
        gates.wait_at(address, "maker")
    return made


@task_token_guard(operation_type="adds")
def adds(tokens: list[Any]) -> int:
    """Wait for tokens that another one has given."""
    return sum(token.get() for token in tokens)


@task_token_guard(operation_type="hands_on")
def hands_on(tokens: list[Any]) -> list[Any]:
    """Give back tokens that another one has given."""
    return tokens


@task_token_guard(operation_type="tenfold_of_each")
def tenfold_of_each(tokens: list[Any]) -> list[Any]:
    """Pass on tokens that another one has given, as arguments."""
    return [tenfold(token) for token in tokens]


@task_token_guard(operation_type="passes_ended")
def passes_ended(count: int) -> list[Any]:
    """Pass on a token that has ended, and forget it."""
    token = makes(count)
    token.get()
    return [adds(token)]


class Sealed:
    """Holds tokens in bytes that nobody else looks into."""

    def __init__(self, tokens: list[Any]) -> None:
        self.tokens = tokens

    def __reduce__(self) -> tuple[Any, ...]:
        return Opened, (pickle.dumps(self.tokens),)


class Opened:
    """What arrives of it."""

    def __init__(self, pickled: bytes) -> None:
        self.pickled = pickled


@task_token_guard(operation_type="seals")
def seals(count: int) -> Sealed:
    """Give tokens in such bytes."""
    return Sealed([tenfold(number) for number in range(count)])


@task_token_guard(operation_type="opens")
def opens(opened: Opened) -> list[Any]:
    """Give back tokens that were in such bytes, and one that needs the first of them."""
    tokens: list[Any] = pickle.loads(opened.pickled)
    return [*tokens, tenfold(tokens[0])]


@task_token_guard(operation_type="leaves_at")
def leaves_at(address: gates.Address) -> list[Any]:
    """Give a token that stays at a gate, and keeps its core busy there."""
    return [spinning(address)]


@task_token_guard(operation_type="calls_given")
def calls_given(function: Any, address: gates.Address) -> int:
    """Call a function that was given, from behind a gate."""
    gates.wait_at(address, "caller")
    result: int = function(2).get()
    return result


_held: list[Any] = []


@task_token_guard(operation_type="drops_late")
def drops_late(tokens: list[Any]) -> int:
    """Drop a token and find it anew, and have the first said after the second."""
    calls: Any = this_process.calls
    token = tokens.pop()
    number, operation_type = token.number, token.operation_type
    calls.known.dropped.clear()
    del token
    taken = list(calls.known.dropped)  # as another thread does that is about to say so
    calls.known.dropped.clear()
    _held.append(calls.refer(number, operation_type))
    calls.tell_parent(0, DROP, value=taken)
    return os.getpid()


@task_token_guard(operation_type="guarded", max_running=1)
def guarded(number: int) -> int:
    """Cores hold one at a time."""
    return number


@task_token_guard(operation_type="waits_behind")
def waits_behind(address: gates.Address) -> int:
    """Wait for a token that a limit holds back, because of one that lies here unbegun."""
    made = [guarded(1)]
    gates.spin_at(address)
    made.append(guarded(2))
    result: int = made[-1].get()
    return result
