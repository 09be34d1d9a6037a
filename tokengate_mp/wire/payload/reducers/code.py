"""Code objects, with the file and the lines that their source has here.

cloudpickle gives all code the file name `<dynamic-code>`, and so no traceback, log record, warning
or measurement of coverage in a core process would say where it is from.

The source of some code is in no file: that of a notebook's cell, of a prompt, of `python -c`, of
what a program compiled itself and left the lines of in `linecache`. Then the source goes along, and
is in the `linecache` of the process that loads the code.
"""

from __future__ import annotations

import linecache
import sys
from os.path import exists
from types import CodeType
from typing import Any, Final

_OF_CODE: Final[dict[Any, Any] | None] = getattr(linecache, "_interactive_cache", None)
"""The lines of code whose file name says nothing (Python 3.13 and later), such as `<string>`."""


def reduce_code(code: CodeType) -> tuple[Any, ...]:
    """Reduce a code object to what it is made of, and to its source if that is in no file."""
    # The names are copied: two that are one object here, being interned, need not be there, and
    # equal functions ought to be equal bytes.
    parts = (
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_nlocals,
        code.co_stacksize,
        code.co_flags,
        code.co_code,
        code.co_consts,
        (*code.co_names,),
        (*code.co_varnames,),
        code.co_filename,
        "".join(code.co_name),
        code.co_qualname,
        code.co_firstlineno,
        code.co_linetable,
        code.co_exceptiontable,
        (*code.co_freevars,),
        (*code.co_cellvars,),
    )
    if not exists(code.co_filename):  # noqa: PTH110 - a Path costs more than the look
        lines, by_name = _lines_of(code)
        if lines:
            return _with_source, (parts, "".join(lines), by_name)
    return CodeType, parts


def _lines_of(code: CodeType) -> tuple[list[str], bool]:
    """Return the lines of a file that is not there, and whether its name alone says which."""
    name = code.co_filename
    if name in linecache.cache:
        return linecache.getlines(name), True
    if _OF_CODE is not None and (entry := _OF_CODE.get(_key(code))) is not None:
        return entry[2], False
    main = sys.modules.get("__main__")
    if getattr(main, "__file__", None) == name:  # a zipped program, whose loader has the source
        return linecache.getlines(name, vars(main)), True
    return [], True


def _with_source(parts: tuple[Any, ...], source: str, by_name: bool) -> CodeType:  # noqa: FBT001 - pickled
    code = CodeType(*parts)
    name = code.co_filename
    if by_name:
        if name not in linecache.cache:
            linecache.cache[name] = _entry(source, name)
    elif _OF_CODE is not None:
        _OF_CODE[_key(code)] = _entry(source, name)
    return code


def _entry(source: str, name: str) -> tuple[int, None, list[str], str]:
    return len(source), None, source.splitlines(keepends=True), name


def _key(code: CodeType) -> tuple[str, str, int]:
    """Return the key of code in `_OF_CODE`, as `linecache` makes it."""
    return code.co_filename, code.co_qualname, code.co_firstlineno
