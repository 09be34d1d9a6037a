"""Memory, pinning and copies, as a whole coordinator or executor is told."""

from __future__ import annotations

import os
import sys

import numpy as np
import psutil
import pytest

from tokengate_mp import OperationsCoordinator, PayloadError, TokenGateExecutor
from tokengate_mp.config import settings as config

MIB = 1 << 20
LIMIT = 512 * MIB

linux = pytest.mark.skipif(sys.platform != "linux", reason="of Linux")


@pytest.fixture(params=["coordinator", "executor"])
def make(request):
    """Makes a coordinator or an executor of a single core with some settings."""

    def made(**settings):
        if request.param == "executor":
            return TokenGateExecutor(1, **settings)
        return OperationsCoordinator(cores=1, **settings)

    return made


def call(pool, function, *args):
    """Submit a call and wait for the result."""
    handle = pool.submit(function, *args)
    return handle.result(30) if isinstance(pool, TokenGateExecutor) else handle.get(30)


def _sorted_in_place(array):
    array.sort()
    return array


def _frozen(size):
    array = np.arange(float(size))[::-1].copy()
    array.flags.writeable = False
    return array


def _allocate(size):
    return len(bytearray(size)), os.getpid()


def _allowed():
    return os.sched_getaffinity(0)


@pytest.mark.parametrize("size", [100, 40_000])
@pytest.mark.parametrize("shared", [None, 0])
def test_with_writable_arguments_and_results_can_be_changed(size, shared):
    """Small and large, by shared memory and without, read-only before or not; all are copies."""
    with OperationsCoordinator(cores=1, writable=True, max_shared_bytes=shared) as pool:
        array = np.arange(float(size))[::-1].copy()
        before = array.copy()
        result = call(pool, _sorted_in_place, array)
        assert (array == before).all()
        assert (result == before[::-1]).all()
        result[0] = 7
        assert call(pool, _sorted_in_place, result)[-1] == size - 1
        if size > 1000:
            frozen = call(pool, _frozen, size)
            frozen.sort()
            frozen.flags.writeable = False
            call(pool, _sorted_in_place, frozen)[0] = 1


def test_an_executor_can_be_writable_too():
    """Its maps as well."""
    with TokenGateExecutor(1, writable=True) as pool:
        arrays = [np.arange(20_000.0)[::-1].copy() for _ in range(3)]
        for result in (
            *pool.map(_sorted_in_place, arrays),
            call(pool, _sorted_in_place, arrays[0]),
        ):
            result[0] += 1
            assert result[0] == 1


def test_without_writable_large_results_are_views():
    """As ever."""
    with OperationsCoordinator(cores=1) as pool:
        assert not call(pool, np.arange, 40_000).flags.writeable


@linux
def test_beyond_its_limit_a_function_gets_memory_error(make):
    """And the process goes on: what fits is served by the same one."""
    with make(memory_limit=LIMIT) as pool:
        _, pid = call(pool, _allocate, MIB)
        with pytest.raises(MemoryError):
            call(pool, _allocate, 2 * LIMIT)
        assert call(pool, _allocate, 64 * MIB) == (64 * MIB, pid)


@linux
def test_shared_memory_is_not_limited(make):
    """An array that is larger than the limit can be looked at."""
    with make(memory_limit=1 << 27) as pool:
        assert call(pool, np.sum, np.ones(1 << 25)) == 1 << 25


@pytest.mark.parametrize(
    ("value", "error"), [(1, ValueError), (-1, ValueError), ("1 GB", TypeError), (True, TypeError)]
)
def test_a_limit_that_makes_no_sense_is_refused(make, value, error):
    """When the pool is made."""
    with pytest.raises(error, match="memory_limit"):
        make(memory_limit=value)


def test_where_no_limit_can_be_kept_it_is_refused(make, monkeypatch):
    """With the name of the system."""
    monkeypatch.setattr(config.sys, "platform", "darwin")
    with pytest.raises(ValueError, match="darwin"):
        make(memory_limit=LIMIT)


@linux
def test_without_pinning_a_core_may_run_on_every_cpu(make):
    """On those that this process may use."""
    with make(pin=False) as pool:
        assert call(pool, _allowed) == os.sched_getaffinity(0)
        assert pool.get_stats()["cores"][0]["cpu"] is None
    with make() as pool:
        assert len(call(pool, _allowed)) == 1


def test_an_executor_shares_values():
    """Calls take the handle; of another executor, or closed, it is refused."""
    array = np.ones(40_000)
    with TokenGateExecutor(1) as pool, TokenGateExecutor(1) as other:
        with pool.share(array) as handle:
            assert handle.nbytes == array.nbytes
            assert list(pool.map(np.sum, [handle, handle])) == [40_000, 40_000]
            assert call(pool, np.sum, handle) == 40_000
            with pytest.raises(PayloadError, match="another"):
                other.submit(np.sum, handle).result(30)
        with pytest.raises(PayloadError, match="closed"):
            call(pool, np.sum, handle)
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.share(array)


@linux
def test_what_is_shared_does_not_count_towards_max_rss():
    """A function that looks at a large shared array does not make its process be replaced."""
    array = np.ones(200 * MIB // 8)
    with OperationsCoordinator(cores=1, max_rss=150 * MIB, max_shared_bytes=1 << 30) as pool:
        handle = pool.share(array)
        call(pool, np.sum, handle)
        link = next(iter(pool._run.engine._backend.links.values()))
        sizes = psutil.Process(link.facts().pid).memory_info()
        assert sizes.rss > 150 * MIB
        pool._run.host.call(pool._run.engine._recycling._weigh)
        assert call(pool, np.sum, handle) == 200 * MIB // 8
        assert pool.get_stats()["cores"][0]["recycled"] == 0
