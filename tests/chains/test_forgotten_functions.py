"""Functions that the parent drops while core processes are about to call them."""

from __future__ import annotations

import gc

import gates
import handing_on
import pytest

from tokengate_mp import OperationsCoordinator, PayloadError, task_token_guard
from tokengate_mp.config.manner import ORDINARY
from tokengate_mp.engine.outbound.functions import Functions as ParentsFunctions
from tokengate_mp.wire.payload.definition import define
from tokengate_mp.worker.run.function import Function
from tokengate_mp.worker.run.functions import Functions


def nested():
    """A function that is gone when nobody refers to it."""

    @task_token_guard(operation_type="nested")
    def times_ten(number):
        return number * 10

    return times_ten


@pytest.mark.parametrize("external_calls", [None, ["nested"]])
@pytest.mark.parametrize("cores", [1, 2])
def test_a_token_calls_a_function_that_was_dropped_meanwhile(cores, external_calls):
    """The parent has told to forget it, and the core has not read that: the call is made."""
    with (
        OperationsCoordinator(cores=cores, threads_per_core=1) as coordinator,
        gates.Gate() as gate,
    ):
        engine, call = coordinator._run.engine, coordinator._run.host.call
        function = nested()
        assert function(1).get(20) == 10
        (index,) = call(lambda: list(engine.intake.functions.known))
        caller = handing_on.calls_given.options(external_calls=external_calls)
        token = caller(function, gate.address)
        gate.arrivals(1)
        del function
        gc.collect()
        call(engine.take_in)
        assert index not in call(lambda: list(engine.intake.functions.known))
        gate.open()
        assert token.get(20) == 20
        assert index in call(lambda: list(engine.intake.functions.known))
        assert sum(core["restarts"] for core in coordinator.get_stats()["cores"]) == 0


def test_a_function_that_is_not_known_fails_its_token():
    """The token says so, and its core goes on."""
    with OperationsCoordinator(cores=1) as coordinator:
        engine = coordinator._run.engine
        assert handing_on.tenfold(1).get(20) == 10

        def forget():
            (index,) = engine.intake.functions.known
            engine._backend.links[1].forget(index)

        coordinator._run.host.call(forget)
        with pytest.raises(PayloadError, match="not known in this core process"):
            handing_on.tenfold(1).get(20)
        assert coordinator.get_stats()["cores"][0]["restarts"] == 0


def test_a_core_forgets_no_function_that_its_tokens_call():
    """What was enrolled stays; what was not goes, and is not found by its key any more."""
    functions = Functions()
    for index, function in enumerate((gates.wait_at, gates.spin_at)):
        functions.define_function(index, define(function))
    assert functions.enrolled_index("gates:wait_at", ORDINARY) == 0
    functions.add_function(7, Function(define(gates.report_to), ORDINARY), "gates:report_to")
    for index in (0, 1, 7):
        functions.forget_function(index)
    assert list(functions) == [0, 7]
    assert functions.enrolled_index("gates:spin_at", ORDINARY) is None
    assert functions.enrolled_index("gates:report_to", ORDINARY) == 7


def test_the_parent_adopts_what_it_has_dropped():
    """A core process that calls a function brings it back, once, and it stays."""
    functions = ParentsFunctions()
    functions.known[0] = b"definition"
    functions.news.append((0, None))
    assert functions.read_news() == [(0, None)]
    for _ in range(2):
        functions.adopt(0, b"definition")
    assert functions.read_news() == [(0, b"definition")]
    functions.news.append((0, None))
    assert functions.read_news() == []
    assert functions.known == {0: b"definition"}
