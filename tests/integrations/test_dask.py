"""Dask's schedulers with a TokenGateExecutor."""

from __future__ import annotations

import operator
import os

import pytest

from tokengate_mp import TokenGateExecutor, WorkerLost

dask = pytest.importorskip("dask", reason="dask is not installed")


@pytest.fixture
def executor():
    """An executor with two core processes."""
    with TokenGateExecutor(2) as executor:
        yield executor


def total():
    """A graph of calls that need each other."""
    add = dask.delayed(operator.add)
    parts = [add(n, 1) for n in range(50)]
    return dask.delayed(sum)(parts)


def test_it_is_a_scheduler(executor):
    """dask.compute runs a graph on it, as an argument and as a setting."""
    assert dask.compute(total(), scheduler=executor) == (1275,)
    with dask.config.set(scheduler=executor):
        pids = dask.compute(*(dask.delayed(os.getpid, pure=False)() for _ in range(8)))
    assert os.getpid() not in pids


def test_it_is_the_pool_of_dasks_processes(executor):
    """Dask's own scheduler for processes takes it in place of its pool."""
    with dask.config.set(pool=executor):
        assert dask.compute(total(), scheduler="processes") == (1275,)


def test_errors_arrive_as_themselves(executor):
    """What a function raises, and a process that died; and then it goes on."""
    with pytest.raises(ZeroDivisionError):
        dask.compute(dask.delayed(operator.floordiv)(1, 0), scheduler=executor)
    with pytest.raises(WorkerLost):
        dask.compute(dask.delayed(os._exit)(3), scheduler=executor)
    assert dask.compute(total(), scheduler=executor) == (1275,)
