"""A function with `context=True` sees the context variables of its caller, and no others."""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import pickle
import threading

import pytest
import scripts
import work_in_context as work

from tokengate_mp import OperationsCoordinator, PayloadError, task_token_guard


@pytest.fixture(autouse=True)
def _as_before():
    """Leave the variables of this thread as they were."""
    before = work.REQUEST.set("of the test"), work.USER.set("tester")
    precision = decimal.getcontext().prec
    yield
    work.REQUEST.reset(before[0])
    work.USER.reset(before[1])
    decimal.getcontext().prec = precision


def test_values_are_those_at_the_call(run):
    """Each token sees what was set when it was made, whatever is set later and elsewhere."""

    async def one(number):
        work.REQUEST.set({"number": number})
        tokens = [work.see(), work.see(1, key=[2])]
        work.REQUEST.set("changed")
        await asyncio.sleep(0)
        assert await asyncio.gather(*tokens) == [({"number": number}, "tester")] * 2

    async def main():
        async with OperationsCoordinator(cores=2):
            await asyncio.gather(*map(one, range(30)))
            assert await contextvars.Context().run(work.see) == ("none", "nobody")
            assert await work.see() == ("of the test", "tester")

    run(main)


def test_nothing_is_left_behind():
    """What a token sets, and what it does to a value, is seen by no other one."""
    with OperationsCoordinator(cores=1, threads_per_core=1):
        work.REQUEST.set([1])
        assert [work.spoil(n).get(20) for n in range(3)] == [[1, n] for n in range(3)]
        assert work.REQUEST.get() == [1]
        assert work.blind().get(20) == ("none", "nobody")
        assert work.see().get(20) == ([1], "tester")
        assert len(work.third().get(20)) == decimal.getcontext().prec + 2


def test_tokens_made_in_tokens_inherit():
    """What is set around the first call is seen by all that ask for it, at any depth."""
    with OperationsCoordinator(cores=2):
        work.REQUEST.set("deep")
        seen, blind = work.pass_on(4).get(20)
        assert seen == ("deep", "tester")
        assert blind == ("none", "nobody")
        lead = work.see.options(operation_type="lead", external_calls=["see"])
        assert lead().get(20) == ("deep", "tester")


def test_what_is_set_after_the_call_is_not_seen():
    """Also where the token that made the call runs it itself, on top of its own."""
    with OperationsCoordinator(cores=1, threads_per_core=1):
        assert work.late().get(20) == ("of the test", "nobody")


def test_the_context_of_decimal_travels():
    """A precision that is set here is used there."""
    with OperationsCoordinator(cores=1):
        for precision in (3, 40):
            decimal.getcontext().prec = precision
            assert work.third().get(20) == str(decimal.Decimal(1) / 3)


def test_what_cannot_be_sent_is_named():
    """The error of the call names the variable; nothing was sent, and other calls go on."""
    with OperationsCoordinator(cores=1):
        work.USER.set(threading.Lock())
        with pytest.raises(PayloadError, match="'see': the value of context variable 'user'"):
            work.see()
        assert work.blind().get(20) == ("none", "nobody")
        work.USER.set("well")
        assert work.see().get(20) == ("of the test", "well")


def test_what_stands_in_no_module_is_left_out():
    """A variable that nobody could find again is no reason to refuse the call."""
    hidden = contextvars.ContextVar("hidden")
    hidden.set(threading.Lock())
    with OperationsCoordinator(cores=1):
        assert work.see().get(20) == ("of the test", "tester")


def test_variables_of_functions_that_travel_by_value():
    """A function that another process cannot import sees its own variables, defaults included."""
    local = contextvars.ContextVar("local", default=("a", "default"))

    @task_token_guard(operation_type="nested", context=True)
    def nested(depth):
        return nested_again(depth).get() if depth else local.get()

    @task_token_guard(operation_type="nested again", context=True)
    def nested_again(depth):
        return local.get(), depth

    with OperationsCoordinator(cores=2):
        assert nested(0).get(20) == ("a", "default")
        local.set("set")
        assert nested(0).get(20) == "set"
        assert nested(1).get(20) == ("set", 1)


def test_variables_of_main(tmp_path):
    """A script sees its variables in its tokens."""
    script = """
import contextvars
from tokengate_mp import OperationsCoordinator, task_token_guard

REQUEST = contextvars.ContextVar("request", default="none")

class Value:
    def __init__(self, number):
        self.number = number

@task_token_guard(context=True)
def see():
    value = REQUEST.get()
    return value if value == "none" else value.number

with OperationsCoordinator(cores=2):
    print(see().get(20))
    tokens = []
    for number in range(3):
        REQUEST.set(Value(number))
        tokens.append(see())
    print([token.get(20) for token in tokens])
"""
    done = scripts.run(scripts.command(tmp_path / "script.py", script))
    assert (done.stderr, done.stdout.splitlines()) == ("", ["none", "[0, 1, 2]"])


def test_a_map_sees_the_context_of_its_call():
    """All its items see what was set when it was made, and none what another one sets."""
    with OperationsCoordinator(cores=2):
        work.REQUEST.set("map")
        seen = work.see.map(range(50))
        spoiled = work.spoil.map(range(50))
        work.REQUEST.set("later")
        assert list(seen) == [("map", "tester")] * 50
        assert list(spoiled) == ["map"] * 50


def test_with_tokens_as_arguments_and_anchors():
    """Arguments that are filled in later, and keys, change nothing of what is seen."""
    with OperationsCoordinator(cores=2):
        first = work.third()
        assert work.see(first, [first]).get(20) == ("of the test", "tester")
        anchored = work.see.options(operation_type="anchored", sticky_anchor="a")
        assert {anchored(n % 3).get(20) for n in range(9)} == {("of the test", "tester")}


def test_errors_show_the_function_and_nothing_above_it():
    """The traceback begins at the function, as it does without a context."""
    with OperationsCoordinator(cores=1):
        with pytest.raises(ValueError, match="of the test") as caught:
            work.raises().get(20)
        shown = str(caught.value.__cause__)
        assert "work_in_context.py" in shown
        assert "context_vars.py" not in shown
        assert "carried.py" not in shown


def test_options_and_pickles_keep_it():
    """A copy carries the context unless it says otherwise; bad values are refused at once."""
    assert work.see.options(timeout=5).token_options.context
    assert not work.see.options(context=False).token_options.context
    assert type(work.blind.options(context=True)) is type(work.see)
    copy = pickle.loads(pickle.dumps(work.blind.options(context=True)))
    assert copy.token_options.context
    assert type(copy) is type(work.see)
    with pytest.raises(TypeError, match="context must be a bool"):
        task_token_guard(operation_type="x", context=1)
