"""What later Pythons have brought: annotations that are evaluated late, lazy imports, sentinels."""

from __future__ import annotations

import inspect
import sys
import typing

import pytest
import scripts

from tokengate_mp import task_token_guard


def plain(path: str, limit: int = 3) -> list[str]:
    """A function whose annotations are looked at."""
    return [path] * limit


@pytest.mark.parametrize(
    "look", [lambda f: f.__annotations__, inspect.get_annotations, typing.get_type_hints]
)
def test_annotations_are_those_of_the_function(look):
    """Whichever way one looks at a decorated function, as with `functools.wraps`."""
    guarded = task_token_guard()(plain)
    assert look(guarded) == look(plain)
    assert look(guarded.options(weight="light")) == look(plain)
    assert inspect.signature(guarded) == inspect.signature(plain)
    assert "inside" in type(guarded).__annotations__  # the class has its own


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated at once")
def test_annotations_that_cannot_be_evaluated(tmp_path):
    """Names that only a type checker imports harm neither the decoration nor the way to a core."""
    code = """
        import annotationlib
        import typing
        from tokengate_mp import OperationsCoordinator, task_token_guard

        if typing.TYPE_CHECKING:
            from nowhere import Thing

        CALLS = 2

        @task_token_guard()
        def decorated(x: Thing, *, times: int = 3) -> list[Thing]:
            return [x] * times

        def other(x: Thing, *, times: int = 3) -> Thing:
            return x * times * CALLS

        def hints():
            return other.__annotations__

        def outer(offset):
            def inner(x: Thing = 4) -> Thing:
                return x + offset
            return inner

        print(annotationlib.get_annotations(decorated, format=annotationlib.Format.STRING))
        with OperationsCoordinator(cores=1) as coordinator:
            print(decorated(1).get(15), coordinator.submit(other, 1).get(15))
            print(coordinator.submit(outer(3)).get(15))
            print(coordinator.submit(hints).get(15))
    """
    assert scripts.output(tmp_path / "annotated.py", code).splitlines() == [
        "{'x': 'Thing', 'times': 'int', 'return': 'list[Thing]'}",
        "[1, 1, 1] 6",
        "7",
        "{'x': 'Thing', 'times': 'int', 'return': 'Thing'}",
    ]


@pytest.mark.skipif(sys.version_info < (3, 15), reason="there are no lazy imports")
def test_lazy_imports_arrive(tmp_path):
    """Names that a script has imported lazily, and not used yet, are there in a core process."""
    code = """
        lazy import json
        lazy import xml.dom
        lazy from math import factorial as product
        from tokengate_mp import OperationsCoordinator, task_token_guard

        @task_token_guard()
        def encode(n):
            return json.dumps([n, product(n), xml.dom.Node.TEXT_NODE])

        with OperationsCoordinator(cores=1):
            print(encode(4).get(15), encode(5).get(15))
    """
    watched = "import faulthandler; faulthandler.dump_traceback_later(15, exit=True)\n"
    path = tmp_path / "lazily.py"
    command = scripts.command(path, code)
    path.write_text(path.read_text("utf-8").removeprefix(watched), "utf-8")
    done = scripts.run(command)
    assert (done.stdout, done.stderr) == ("[4, 24, 3] [5, 120, 3]\n", "")


@pytest.mark.skipif(sys.version_info < (3, 15), reason="there is no frozendict")
def test_new_values_arrive_as_they_are(tmp_path):
    """A frozendict is one, a sentinel stays the same object, and so do marks of dataclasses."""
    code = """
        import dataclasses
        from tokengate_mp import OperationsCoordinator, task_token_guard

        @dataclasses.dataclass
        class Order:
            item: str
            _: dataclasses.KW_ONLY
            price: float = 1.0

        NOTHING = sentinel("NOTHING", repr="<nothing>")
        LIMITS = frozendict(low=1, high=2)

        @task_token_guard()
        def check(order):
            first, second = dataclasses.fields(order)
            return first.default is dataclasses.MISSING, second.default, LIMITS

        @task_token_guard()
        def is_nothing(value, other=NOTHING):
            return value is NOTHING is other, repr(value), value.__module__

        @task_token_guard()
        def same(value):
            return value

        with OperationsCoordinator(cores=1):
            print(same(NOTHING).get(15) is NOTHING, is_nothing(NOTHING).get(15))
            print(check(Order("tea")).get(15))
            print(same(frozendict(a=[1])).get(15), list(same.map([LIMITS])))
    """
    assert scripts.output(tmp_path / "new.py", code).splitlines() == [
        "True (True, '<nothing>', '__main__')",
        "(True, 1.0, frozendict({'low': 1, 'high': 2}))",
        "frozendict({'a': [1]}) [frozendict({'low': 1, 'high': 2})]",
    ]
