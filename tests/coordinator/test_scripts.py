"""Scripts as users write them: no guard, everything in `__main__`, piped, or typed in."""

from __future__ import annotations

import os
import sys
import textwrap

import pytest
import scripts

SCRIPT = """
import asyncio
import collections
import dataclasses
import enum
from tokengate_mp import OperationsCoordinator, task_token_guard

FACTOR = 3
Pair = collections.namedtuple("Pair", "a b")

class Colour(enum.Enum):
    RED = 1

class Level(enum.IntEnum):
    LOW = 1

@dataclasses.dataclass
class Point:
    x: int
    colour: Colour = Colour.RED

    def grown(self):
        return Point(self.x * FACTOR)

class Number(int):
    pass

class Broken(Exception):
    pass

def helper(x):
    return x * FACTOR

@task_token_guard(operation_type="hash_compute", tags={"weight": "heavy"})
def compute(x: int) -> int:
    return helper(x)

@task_token_guard()
def move(point: Point, by) -> Point:
    assert isinstance(point, Point) and point.colour is Colour.RED
    return Point(point.x + by(point.x))

@task_token_guard()
def fail(x):
    raise Broken(x)

def nested(base):
    @task_token_guard()
    def inner(x):
        return base + x
    return inner

async def main() -> None:
    async with OperationsCoordinator(cores=2) as coordinator:
        assert await asyncio.gather(*map(compute, range(50))) == [3 * n for n in range(50)]
        moved = await move(Point(5), lambda x: x + FACTOR)
        assert type(moved) is Point and moved == Point(13) and moved.colour is Colour.RED
        for value in (Colour.RED, Level.LOW, Pair(1, 2), Number(4), Point, [Point(1)], {Colour}):
            back = await coordinator.submit(lambda v: v, value)
            assert type(back) is type(value) and back == value, value
        assert await coordinator.submit(Point(2).grown) == Point(6)
        try:
            await fail(4)
        except Broken as error:
            assert error.args == (4,)
            assert "in fail" in str(error.__cause__)
        assert await nested(100)(5) == 105
    print("right")

asyncio.run(main())
"""


def test_a_script_without_a_guard(tmp_path):
    """Functions, classes, enums and dataclasses of `__main__`, with no guard around anything."""
    assert scripts.output(tmp_path / "script.py", SCRIPT) == "right\n"


def test_code_piped_to_python(tmp_path):
    """The same code, where there is no file that could be imported."""
    done = scripts.run([sys.executable, "-Werror", "-"], stdin=SCRIPT, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("right\n", "")
    done = scripts.run([sys.executable, "-Werror", "-c", SCRIPT], cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("right\n", "")


def test_a_module_run_with_m(tmp_path):
    """`python -m pkg.mod`, with functions there and in its package."""
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "other.py").write_text(
        "from tokengate_mp import task_token_guard\n\n"
        "@task_token_guard()\ndef twice(x):\n    return 2 * x\n"
    )
    helped = SCRIPT.replace("FACTOR = 3", "FACTOR = 3\nfrom .other import twice").replace(
        '    print("right")', "        assert await twice(4) == 8\n    print('right')"
    )
    (package / "mod.py").write_text(helped)
    done = scripts.run([sys.executable, "-Werror", "-m", "pkg.mod"], cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("right\n", "")


def test_typed_in_line_by_line(tmp_path):
    """`python -i`: definitions change between calls, and each call uses the latest."""
    lines = textwrap.dedent(
        """
        from tokengate_mp import OperationsCoordinator, task_token_guard
        coordinator = OperationsCoordinator(cores=1).start()
        @task_token_guard()
        def f(x):
            return x + 1

        print("=", f(1).get(20))
        @task_token_guard()
        def f(x):
            return x * 10

        print("=", f(5).get(20))
        class A:
            def __init__(self, v):
                self.v = v

        print("=", type(coordinator.submit(A, 3).get(20)) is A)
        print("=", coordinator.submit(lambda: A(4)).get(20).v)
        coordinator.stop()
        """
    )
    done = scripts.run([sys.executable, "-i", "-q"], stdin=lines, cwd=tmp_path)
    said = [line for line in done.stdout.splitlines() if line.startswith("=")]
    assert said == ["= 2", "= 50", "= True", "= 4"], done.stderr


def test_a_notebook(tmp_path):
    """Cells run in a fresh module named `__main__`, in a loop that never ends between them."""
    code = """
        import asyncio
        import ast
        import inspect
        import sys
        import types

        cells = [
            "from tokengate_mp import OperationsCoordinator, task_token_guard",
            "coordinator = OperationsCoordinator(cores=1).start()",
            "class A:\\n    def __init__(self, v):\\n        self.v = v",
            "@task_token_guard()\\ndef f(a):\\n    return A(a.v + 1)",
            "one = await f(A(1))\\nassert type(one) is A and one.v == 2",
            "@task_token_guard()\\ndef f(a):\\n    return A(a.v * 10)",
            "assert (await f(A(4))).v == 40",
            "import asyncio\\nr = await asyncio.gather(*[f(A(n)) for n in range(20)])",
            "assert [a.v for a in r] == [n * 10 for n in range(20)]",
            "coordinator.stop()",
        ]
        notebook = types.ModuleType("__main__")
        sys.modules["__main__"] = notebook

        async def main():
            for cell in cells:
                flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
                code = compile(cell, "<cell>", "exec", flags=flags)
                result = eval(code, vars(notebook))
                if inspect.iscoroutine(result):
                    await result
            print("right")

        asyncio.run(main())
    """
    assert scripts.output(tmp_path / "notebook.py", code) == "right\n"


def test_a_plain_script_with_get(tmp_path):
    """Without asyncio: `with`, calls, `get()`, at module level."""
    code = """
        from tokengate_mp import OperationsCoordinator, task_token_guard

        @task_token_guard()
        def square(n):
            return n * n

        with OperationsCoordinator(cores=2):
            tokens = [square(n) for n in range(1000)]
            print(sum(token.get() for token in tokens))
    """
    assert scripts.output(tmp_path / "plain.py", code) == "332833500\n"


def test_a_script_that_starts_processes_of_its_own(tmp_path):
    """Multiprocessing and tokens in one script; a child process has no coordinator."""
    code = """
        import multiprocessing
        from tokengate_mp import CoordinatorNotRunning, OperationsCoordinator
        import work

        if __name__ == "__main__":
            with OperationsCoordinator(cores=1):
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    print(pool.apply(abs, (-3,)), work.square(4).get())
                    try:
                        pool.apply(work.square, (4,))
                    except CoordinatorNotRunning as error:
                        print("refused")
                    pool.close()
                    pool.join()
                print(work.square(5).get())
    """
    assert scripts.output(tmp_path / "pools.py", code) == "3 16\nrefused\n25\n"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs an affinity mask")
def test_the_parent_is_not_pinned(tmp_path):
    """Core processes pin themselves; the script's own process may use what it could before."""
    code = """
        import os
        import work
        from tokengate_mp import OperationsCoordinator

        before = os.sched_getaffinity(0)
        with OperationsCoordinator(cores=1):
            work.square(4).get()
            print(os.sched_getaffinity(0) == before)
    """
    assert scripts.output(tmp_path / "affinity.py", code) == "True\n"
