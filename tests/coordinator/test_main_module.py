"""`__main__` in a core process is the script's, and no process that a call starts runs it."""

from __future__ import annotations

import sys

import pytest
import scripts

LOOKED_UP = '''
"""The text of the script."""
from __future__ import annotations
import dataclasses, inspect, pickle, shelve, typing
from tokengate_mp import TokenGateExecutor

@dataclasses.dataclass
class Leaf:
    n: int

@dataclasses.dataclass
class Tree:
    leaves: list[Leaf]

def says():
    import __main__
    return __main__.__doc__, __main__.__file__ == __file__, __main__.says is says, __spec__

def stored(n):
    return pickle.dumps(Tree([Leaf(n)]))

def loaded(stored):
    return pickle.loads(stored).leaves[0].n

def shelved(path):
    with shelve.open(path) as shelf:
        shelf["tree"] = Tree([Leaf(3)])
        return shelf["tree"] == Tree([Leaf(3)])

def hints():
    return typing.get_type_hints(Tree) == {"leaves": list[Leaf]}

def hints_of(tree):
    return typing.get_type_hints(type(tree)) == {"leaves": list[Leaf]}

def source():
    return inspect.getsource(source).splitlines()[1].strip()

with TokenGateExecutor(2) as executor:
    assert executor.submit(says).result(20) == ("The text of the script.", True, True, None)
    assert executor.submit(hints_of, Tree([])).result(20)
    assert executor.submit(hints).result(20)
    assert executor.submit(stored, 4).result(20) == stored(4)
    assert executor.submit(shelved, sys.argv[1]).result(20)
    assert executor.submit(source).result(20).startswith("return inspect")
    print("found")
'''


def test_names_of_a_script_are_found_in_a_core(tmp_path):
    """By whatever looks them up: pickle, shelve, type hints, `import __main__`, inspect."""
    script = scripts.command(tmp_path / "script.py", "")
    code = LOOKED_UP.replace("import dataclasses,", "import sys, dataclasses,")
    (tmp_path / "script.py").write_text(code.lstrip())
    ended = scripts.run([*script, str(tmp_path / "shelf")])
    assert (ended.stdout, ended.stderr) == ("found\n", "")


POOLS = """
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor
from tokengate_mp import TokenGateExecutor

with open(sys.argv[1], "a") as ran:
    ran.write("x")
RATE = 2

class Box:
    def __init__(self, n):
        self.n = n

def leaf(box):
    return Box(box.n * RATE)

def branch(how):
    context = multiprocessing.get_context(how)
    with ProcessPoolExecutor(1, mp_context=context) as inner:
        return [box.n for box in inner.map(leaf, map(Box, range(3)))]

def pooled(how):
    with multiprocessing.get_context(how).Pool(1) as pool:
        return [box.n for box in pool.map(leaf, map(Box, range(3)))]

with TokenGateExecutor(1) as executor:
    print(executor.submit(branch, sys.argv[2]).result(20))
    print(executor.submit(pooled, sys.argv[2]).result(20))
with open(sys.argv[1]) as ran:
    print(ran.read())
"""


@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver"])
def test_a_pool_in_a_token_runs_no_script(tmp_path, how):
    """The script has no guard, and its functions and classes are found in the pool's processes."""
    script = tmp_path / "script.py"
    script.write_text(POOLS)
    ended = scripts.run([sys.executable, str(script), str(tmp_path / "ran"), how])
    assert ended.stdout == "[0, 2, 4]\n[0, 2, 4]\nx\n", ended.stderr


def test_a_module_run_with_m_is_main_in_a_core(tmp_path):
    """With its package, so that relative imports in functions work, and the name in its spec."""
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "other.py").write_text("value = 5\n")
    (package / "__main__.py").write_text(
        "from tokengate_mp import TokenGateExecutor\n"
        "def look():\n"
        "    import __main__\n"
        "    from .other import value\n"
        "    return value, __main__.__spec__.name, __main__.__package__, __main__.look is look\n"
        "with TokenGateExecutor(1) as executor:\n"
        "    print(executor.submit(look).result(20))\n"
    )
    ended = scripts.run([sys.executable, "-m", "pkg"], cwd=tmp_path)
    assert ended.stdout == "(5, 'pkg.__main__', 'pkg', True)\n", ended.stderr
