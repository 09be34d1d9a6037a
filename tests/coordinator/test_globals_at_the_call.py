"""Functions of a script see its global variables as they are bound at the call, on every core."""

from __future__ import annotations

import pytest
import scripts

SCRIPT = """
import gc, os, random, signal, sys
from tokengate_mp import OperationsCoordinator, TokenGateExecutor, task_token_guard

rate, other = 1, 2

def helper(n):
    return n * rate

class Box:
    def look(self):
        return helper(2), other

@task_token_guard()
def inner(n):
    return n, helper(n)

@task_token_guard(weight="heavy")
def direct(n):
    return n, rate, Box().look()

@task_token_guard()
def of_box(box):
    return box.look(), isinstance(box, Box)

@task_token_guard(idempotent=True, retries=3)
def nested(n):
    return [token.get() for token in [inner(k) for k in range(n)]]

def plain(n):
    return n, other, helper(n)

chance = random.Random(int(sys.argv[1]))
steps = int(sys.argv[2])

def bind():
    global rate, other
    choice, number = chance.randrange(4), chance.randrange(100)
    if choice == 0:
        rate = number
    elif choice == 1:
        other = [number]
    elif choice == 2:
        exec(f"def helper(n): return n, {number}, rate", globals())
    else:
        source = f"class Box:\\n    def look(self): return {number}, helper(1), other"
        exec(source, globals())

def calls(coordinator, executor):
    here = [(n, helper(n)) for n in range(3)]
    yield inner(4), (4, helper(4))
    yield direct(5), (5, rate, Box().look())
    yield of_box(Box()), (Box().look(), True)
    yield nested(3), here
    yield coordinator.submit(plain, 6), plain(6)
    yield coordinator.submit(lambda n: (n, rate), 7), (7, rate)
    yield executor.submit(plain, 8), plain(8)
    yield executor.map(plain, range(3)), [plain(n) for n in range(3)]
    yield inner.map(range(3)), here

def value(call):
    if hasattr(call, "get"):
        return call.get(20)
    return call.result(20) if hasattr(call, "result") else list(call)

with OperationsCoordinator(cores=2) as coordinator, TokenGateExecutor(2) as executor:
    waiting = []
    for step in range(steps):
        bind()
        made = list(calls(coordinator, executor))
        waiting += chance.sample(made, 4)
        if chance.random() < 0.5:
            chance.shuffle(waiting)
            for call, expected in waiting:
                got = value(call)
                assert got == expected, (step, got, expected)
            waiting.clear()
            if chance.random() < 0.3:
                coordinator.submit(os.getpid).get(20)
                pid = coordinator.get_stats()["cores"][chance.randrange(2)]["pid"]
                os.kill(pid, signal.SIGKILL)
    for call, expected in waiting:
        assert value(call) == expected
print("the same")
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_any_sequence_gives_what_one_process_would_give(tmp_path, seed):
    """Decorated and plain functions, maps, executors, nested calls, and replaced processes."""
    ended = scripts.run([*scripts.command(tmp_path / "script.py", SCRIPT), str(seed), "8"])
    assert (ended.stdout, ended.stderr) == ("the same\n", "")


def test_rebinding_for_ever_leaves_nothing_behind(tmp_path):
    """A version is forgotten with its last token, here and in the core processes."""
    code = """
        import gc, weakref
        from tokengate_mp import OperationsCoordinator, task_token_guard

        class Large:
            pass

        large, number = Large(), 0

        @task_token_guard()
        def use():
            return number, type(large).__name__

        with OperationsCoordinator(cores=2) as coordinator:
            known = coordinator._run.engine.intake.functions.known
            gone = weakref.ref(large)
            use().get(20)
            large = Large()
            gc.collect()
            assert gone() is None
            for number in range(500):
                token = use()
            assert token.get(20) == (499, "Large")
            coordinator._run.host.call(lambda: None)
            del token
            gc.collect()
            use().get(20)
            print(len(known))
    """
    assert int(scripts.output(tmp_path / "script.py", code)) <= 3
