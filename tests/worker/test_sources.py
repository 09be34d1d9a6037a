"""Where the code of scripts is from, as a core process sees it."""

from __future__ import annotations

import sys

import pytest
import scripts

from tokengate_mp.wire.payload.by_value import dumps
from tokengate_mp.wire.payload.codec import loads

SCRIPT = """\
import inspect
import logging
import traceback
import warnings

from tokengate_mp import TokenGateExecutor, task_token_guard, OperationsCoordinator


def share(parts):
    warnings.simplefilter("always")
    warnings.warn("sharing", stacklevel=1)
    logging.getLogger("shop").warning("dividing")
    pick = lambda part: part["amount"]
    return [pick(part) for part in parts]


@task_token_guard()
def deeper(parts):
    return share(parts)


def look():
    return inspect.getsource(share), inspect.getsourcefile(share)


class Keep(logging.Handler):
    def emit(self, record):
        print("log", record.pathname == __file__, record.lineno, record.funcName)


logging.getLogger().addHandler(Keep())

with TokenGateExecutor(1) as executor:
    error = executor.submit(share, [{}]).exception()
    print(error.__cause__)
    source, file = executor.submit(look).result()
    print("source", source == inspect.getsource(share), file == __file__)
with OperationsCoordinator(cores=1):
    try:
        deeper([{}]).get()
    except KeyError as error:
        print(error.__cause__)
"""


def test_tracebacks_records_warnings_and_sources_are_those_of_the_script(tmp_path):
    """A traceback has the script's file, line, text and carets; so has all that asks for them."""
    path = tmp_path / "shop.py"
    ended = scripts.run(scripts.command(path, SCRIPT))
    said = ended.stdout
    assert ended.returncode == 0, ended.stderr
    assert said.count(f'File "{path}", line 15, in share') == 2
    assert f'File "{path}", line 20, in deeper\n    return share(parts)\n' in said
    assert f'File "{path}", line 14, in <lambda>\n    pick = lambda part: part["amount"]' in said
    assert "                        ~~~~^^^^^^^^^^" in said
    assert "log True 13 share" in said
    assert f"{path}:12: UserWarning: sharing" in ended.stderr
    assert "source True True" in said
    assert "dynamic" not in said + ended.stderr


CELL = """\
def outer(parts):
    def inner(part):
        return (lambda whole: part / whole)(0)
    return [inner(part) for part in parts]
def look():
    import inspect
    return inspect.getsource(outer)
"""

NOTEBOOK = f"""\
import linecache
from tokengate_mp import TokenGateExecutor

cell = {CELL!r}
for name in ("/tmp/ipykernel_1/5.py", "<ipython-input-7-abcd>"):
    linecache.cache[name] = len(cell), None, cell.splitlines(keepends=True), name
    exec(compile(cell, name, "exec"), globals())
    with TokenGateExecutor(1) as executor:
        print(executor.submit(outer, [1]).exception().__cause__)
        print(executor.submit(look).result())
"""


def test_the_lines_of_code_that_is_in_no_file_go_along(tmp_path):
    """Code of a cell, whose lines are in linecache alone, has these lines in a core process."""
    said = scripts.output(tmp_path / "notebook.py", NOTEBOOK)
    for name in ("/tmp/ipykernel_1/5.py", "<ipython-input-7-abcd>"):  # noqa: S108 - no file at all
        assert f'File "{name}", line 4, in outer\n    return [inner(part)' in said
        assert f'File "{name}", line 3, in <lambda>\n    return (lambda whole' in said
    assert said.count("return [inner(part) for part in parts]\n") >= 4


COMMAND = """
from tokengate_mp import TokenGateExecutor
def share(part):
    return part / 0
with TokenGateExecutor(1) as executor:
    print(executor.submit(share, 1).exception().__cause__)
"""


def test_code_of_the_command_line_has_its_lines_where_python_keeps_them():
    """Tracebacks of `python -c` show as much in a core process as they do in the program."""
    ended = scripts.run([sys.executable, "-c", COMMAND])
    assert 'File "<string>", line 4, in share' in ended.stdout
    if sys.version_info >= (3, 13, 1):
        assert "    return part / 0\n           ~~~~~^~~" in ended.stdout


@pytest.mark.parametrize("name", ["", "\udc80", "x" * 5000, "<string>"])
def test_odd_file_names_of_code_are_kept(name):
    """Whatever a program calls the file of code that it compiles, the code arrives with it."""
    scope: dict[str, object] = {"__name__": "__main__"}
    exec(compile("def f(a, /, b=2, *c, d=4, **e): return a + b", name, "exec"), scope)  # noqa: S102 - of this test
    arrived = loads(dumps(scope["f"]))
    assert arrived(1) == 3
    assert arrived.__code__.co_filename == name
    assert arrived.__code__ == scope["f"].__code__
