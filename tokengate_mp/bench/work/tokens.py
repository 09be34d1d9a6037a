"""The workloads as token functions, with the weight classes that TokenGate gave them.

Kept apart from the plain functions, which a process pool must find under their own names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokengate_mp import task_token_guard
from tokengate_mp.bench.work import arrays, leibniz, workloads
from tokengate_mp.bench.work.workloads import Function

if TYPE_CHECKING:
    from tokengate_mp import Token, TokenFunction

noop = task_token_guard("noop", weight="light")(workloads.noop)
burn = task_token_guard("burn", weight="medium")(workloads.burn)

cpu_crunch = task_token_guard("cpu_crunch", weight="light")(workloads.cpu_crunch)
string_transform = task_token_guard("string_transform", weight="light")(workloads.string_transform)
data_sort = task_token_guard("data_sort", weight="medium")(workloads.data_sort)
hash_chain = task_token_guard("hash_chain", weight="heavy")(workloads.hash_chain)

burst_token = task_token_guard("burst", weight="medium")(workloads.hash_chain)

pi_term = task_token_guard("pi_term", weight="light")(leibniz.pi_term)
sum_chunk = task_token_guard("sum_chunk", weight="light")(leibniz.sum_chunk)
sum_partial = task_token_guard("sum_partial", weight="medium")(leibniz.sum_partial)
sum_total = task_token_guard("sum_total", weight="heavy")(leibniz.sum_total)

add_up = task_token_guard("add_up")(arrays.add_up)
ends_of = task_token_guard("ends_of")(arrays.ends_of)
array_of = task_token_guard("array_of")(arrays.array_of)

TOKEN_FUNCTIONS: Final[dict[Function, TokenFunction[..., Any]]] = {
    function.__wrapped__: function
    for function in (
        *(noop, burn, cpu_crunch, string_transform, data_sort, hash_chain),
        *(add_up, ends_of, array_of),
    )
}
"""For each plain function that is measured, the token function of it."""


def mix_token(index: int) -> Token[Any]:
    """Make token `index` of the mix."""
    function, arguments = workloads.mix_call(index)
    return TOKEN_FUNCTIONS[function](*arguments)
