"""Whether a thread is about to enter a `with` block, where it must not be interrupted.

On Python 3.14 an exception that is raised in a thread from outside may come when `with lock:` has
taken the lock, and before the block begins that would give it back (see `tokengate_mp.locks`). The
lock may be the user's. So such a thread is interrupted some milliseconds later.
"""

from __future__ import annotations

import sys
from functools import cache
from types import FrameType
from typing import Final, NamedTuple

from tokengate_mp.locks import LEAKY_WITH

_WIDTH: Final = 2
"""Bytes of an instruction, and of each of the cache entries behind some."""


class _Opcodes(NamedTuple):
    """The instructions that are looked for."""

    call: int
    load_special: int
    jump_back: int
    checks: frozenset[int]
    ends: frozenset[int]


@cache
def _opcodes() -> _Opcodes:
    from _opcode_metadata import opmap  # type: ignore[import-not-found]  # noqa: PLC0415 - 3.14 alone

    checks = {"CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD", "RESUME"}
    return _Opcodes(
        opmap["CALL"],
        opmap["LOAD_SPECIAL"],
        opmap["JUMP_BACKWARD"],
        frozenset(opmap[name] for name in checks),
        frozenset({opmap["RETURN_VALUE"], opmap["YIELD_VALUE"]}),
    )


def enters_with(ident: int) -> bool:
    """Whether an exception raised now in a thread might come at the beginning of a `with` block.

    The calling thread has the GIL, so the other is in a call, or was stopped at an instruction that
    looks whether anything is to be done for others. The exception comes at the end of that call, or
    at the next such instruction.
    """
    if not LEAKY_WITH:
        return False
    frame = sys._current_frames().get(ident)  # noqa: SLF001 - documented
    if frame is None:
        return False
    codes = _opcodes()
    code, at = frame.f_code.co_code, frame.f_lasti
    if _is_entry(code, at, codes):
        return True
    if code[at] == codes.jump_back:
        at += _WIDTH * (2 - code[at + 1])  # from behind its cache entry
        return _leads_to_entry(frame, code, at, codes)
    return _leads_to_entry(frame, code, at + _WIDTH, codes)


def _leads_to_entry(frame: FrameType | None, code: bytes, at: int, codes: _Opcodes) -> bool:
    """Whether the next instruction that looks for exceptions enters a `with` block."""
    while frame is not None:
        while at < len(code):
            if code[at] in codes.checks:
                return _is_entry(code, at, codes)
            if code[at] in codes.ends:
                break
            at += _WIDTH
        frame = frame.f_back
        if frame is not None:
            code, at = frame.f_code.co_code, frame.f_lasti + _WIDTH
    return False


def _is_entry(code: bytes, at: int, codes: _Opcodes) -> bool:
    enter = bytes([codes.load_special, 0])  # 0 is `__enter__`
    return code[at] == codes.call and code[at - _WIDTH : at] == enter
