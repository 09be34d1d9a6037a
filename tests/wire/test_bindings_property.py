"""Any sequence of bindings and calls gives what one process would give."""

from __future__ import annotations

from textwrap import dedent

import elsewhere
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokengate_mp.wire.payload.definition import defined

SCRIPT = dedent("""
    rate = 1
    other = 2

    def helper(n):
        return n * rate

    class Box:
        def look(self):
            return helper(2), other

    def direct():
        return rate, other

    def by_function():
        return helper(3)

    def by_class():
        return Box().look()

    def by_closure(make=lambda: rate):
        return make(), max(1, 2)
""")

NAMES = ("rate", "other", "helper", "Box", "max")
FUNCTIONS = ("direct", "by_function", "by_class", "by_closure")


def _bind(script, name, number):
    if name in {"rate", "other"}:
        script[name] = number
    elif name == "helper":
        exec(f"def helper(n): return n + {number} + other", script)  # noqa: S102 - a script
    elif name == "max":
        exec(f"def max(*_): return {number}, rate", script)  # noqa: S102 - a script
    else:
        source = f"class Box:\n    def look(self): return {number}, helper(1)"
        exec(source, script)  # noqa: S102 - a script


def _local(script, function):
    try:
        return script[function]()
    except NameError as error:
        return type(error).__name__, error.name


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("bind"), st.sampled_from(NAMES), st.integers(0, 3)),
        st.tuples(st.just("delete"), st.sampled_from(NAMES), st.just(0)),
        st.tuples(st.just("call"), st.sampled_from(FUNCTIONS), st.integers(0, 30)),
    ),
    max_size=25,
)


@pytest.fixture(scope="module")
def there():
    """Another process."""
    process = elsewhere.Elsewhere()
    yield process
    process.close()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_calls_see_what_was_bound_when_they_were_made(there, steps):
    """Those that wait too: each gives what it would have given at once, in whatever order."""
    script: dict[str, object] = {"__name__": "__main__"}
    exec(SCRIPT, script)  # noqa: S102 - a script
    latest: dict[str, tuple[int, object]] = {}
    made: list[tuple[int, object]] = []
    for kind, name, number in steps:
        if kind == "bind":
            _bind(script, name, number)
        elif kind == "delete":
            script.pop(name, None)
        else:
            key, unchanged = latest.get(name, (0, None))
            if unchanged is None or not unchanged():
                definition, _key, unchanged, _ = defined(script[name])
                key = there.number = getattr(there, "number", 0) + 1
                there.define(key, definition)
                latest[name] = key, unchanged
            made.append((key, _local(script, name)))
            late = made[number % len(made)]
            for index, expected in (made[-1], late):
                assert there.try_call(index) == expected
