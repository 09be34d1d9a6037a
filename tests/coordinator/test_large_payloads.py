"""Large arguments and results by shared memory: exact, zero-copy, bounded, and given back."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import os
import signal
import threading

import arrays
import gates
import numpy as np
import pytest

from tokengate_mp import (
    AdmissionRejected,
    CoordinatorNotRunning,
    OperationsCoordinator,
    PayloadError,
    TokenGateExecutor,
    TokenKilled,
    WorkerLost,
)

MIB = 1 << 20
NOTHING = {"arguments": 0, "results": 0}


def in_use(coordinator) -> dict[str, int]:
    """How many bytes of shared memory arguments and results take."""
    gc.collect()
    stats = coordinator.get_stats()["shared_memory"]
    return {name: stats[name] for name in NOTHING}


def settled(coordinator) -> dict[str, int]:
    """The same, once every core has said what it has let go."""
    for _ in range(3):
        for _core in coordinator.get_stats()["cores"]:
            arrays.forget().get(20)
    return in_use(coordinator)


@pytest.fixture(params=["linux", "portable"])
def coordinator(request, monkeypatch):
    """A coordinator with one core, on either path."""
    if request.param == "portable":
        monkeypatch.setenv("TOKENGATE_MP_PORTABLE", "1")
    with OperationsCoordinator(cores=1, max_shared_bytes=64 * MIB) as running:
        yield running


VALUES = [
    np.arange(100_000, dtype=np.int32).reshape(100, 1000),
    np.asfortranarray(np.random.default_rng(1).random((300, 200))),
    np.ones(200_000)[::2],
    bytes(range(256)) * 400,
    bytearray(b"ab") * 50_000,
    memoryview(b"abcd" * 30_000),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_arguments_and_results_are_exact(coordinator, value):
    """Type, form and content are kept both ways; arrays and views come read-only."""
    expected = arrays.kind(value)[:2]
    writable = False if isinstance(value, (np.ndarray, memoryview)) else None
    if isinstance(value, np.ndarray) and not value.flags.forc:
        writable = True  # it has no memory of one piece, and is copied by its pickle
    for kind in arrays.kinds(value, named=value).get(20):
        assert kind[:2] == expected
    result = arrays.as_it_is(value).get(20)
    assert type(result) is type(value)
    assert arrays.kind(result)[:2] == expected
    if writable is False:
        assert arrays.kind(result)[2] is False
    del result
    assert settled(coordinator) == NOTHING


def test_later_changes_of_an_argument_are_not_seen(coordinator):
    """The call takes a snapshot."""
    array = np.ones(100_000)
    tokens = [arrays.total(array) for _ in range(3)]
    array[:] = 7
    assert [token.get(20) for token in tokens] == [100_000.0] * 3


def test_a_writable_function_gets_copies(coordinator):
    """It may change its arguments; also what the caller cannot change, and values of tokens."""
    array = np.ones(100_000)
    assert arrays.doubled(array).get(20).sum() == 200_000
    assert array.sum() == 100_000
    result = arrays.ones(100_000).get(20)
    assert arrays.doubled(result).get(20).sum() == 200_000
    assert arrays.doubled(arrays.ones(100_000)).get(20).sum() == 200_000
    with pytest.raises(ValueError, match="read-only"):
        arrays.doubled.options(writable=False)(array).get(20)


def test_small_arrays_stay_changeable_whatever_travels_with_them(coordinator):
    """Only an array that is large itself is a view."""
    small, large = np.ones(2_000), np.ones(100_000)
    writable = [kind[2] for kind in arrays.kinds(small, small, small, small, large).get(20)]
    assert writable == [True] * 4 + [False]


def test_a_result_lives_as_long_as_its_views(coordinator):
    """Beyond its token, and beyond its core process; then its memory is free again."""
    result = arrays.ones(MIB // 8).get(20)
    part = result[10:20]
    del result
    assert in_use(coordinator) == {"arguments": 0, "results": MIB}
    os.kill(coordinator.get_stats()["cores"][0]["pid"], signal.SIGKILL)
    assert arrays.total(np.ones(100_000)).get(20) == 100_000
    assert part.sum() == 10
    del part
    assert settled(coordinator) == NOTHING


def test_a_result_outlives_the_coordinator():
    """What it looks at is given up with it, and not before."""
    with OperationsCoordinator(cores=1):
        result = arrays.ones(MIB // 8).get(20)
    assert result.sum() == MIB // 8


def test_what_a_function_keeps_stays_as_it_is(coordinator):
    """Views in a core process outlive their token: their bytes are not used for anything else."""
    for n in range(1, 4):
        arrays.keep(np.full(MIB // 8, float(n))).get(20)
    assert in_use(coordinator)["arguments"] == 3 * MIB
    for _ in range(10):
        arrays.total(np.zeros(MIB // 8)).get(20)
    assert arrays.sum_of_kept().get(20) == 6 * MIB // 8
    assert settled(coordinator) == NOTHING


def test_what_a_killed_process_kept_is_free(coordinator):
    """It looks at nothing any more."""
    pid = arrays.keep(np.ones(MIB // 8)).get(20)
    assert in_use(coordinator)["arguments"] == MIB
    os.kill(pid, signal.SIGKILL)
    assert arrays.sum_of_kept().get(20) == 0
    assert in_use(coordinator) == NOTHING


def test_arguments_are_there_for_every_run(coordinator, tmp_path):
    """A token that is run again in another process finds them there."""
    array = np.ones(MIB // 8)
    token = arrays.dies_once(str(tmp_path / "marker"), array)
    behind = [arrays.total(array) for _ in range(5)]
    assert token.get(20) == MIB // 8
    assert [each.get(20) for each in behind] == [MIB // 8] * 5
    assert settled(coordinator) == NOTHING


def test_killing_a_running_token_leaves_it_its_arguments():
    """Until its process has done with it they are not used for anything else."""
    with gates.Gate() as gate, OperationsCoordinator(cores=1, threads_per_core=2) as coordinator:
        token = arrays.hold(gate.address, np.ones(MIB // 8))
        gate.arrivals(1)
        token.kill()
        with pytest.raises(TokenKilled):
            token.get(20)
        gate.open()
        assert arrays.total(np.zeros(MIB // 8)).get(20) == 0
        assert settled(coordinator) == NOTHING


def test_a_killed_token_in_a_killed_process_leaves_nothing():
    """Whichever comes first."""
    with gates.Gate() as gate, OperationsCoordinator(cores=1) as coordinator:
        token = arrays.hold(gate.address, np.ones(MIB // 8))
        gate.arrivals(1)
        os.kill(coordinator.get_stats()["cores"][0]["pid"], signal.SIGKILL)
        with pytest.raises(WorkerLost):
            token.get(20)
        del token
        assert settled(coordinator) == NOTHING


@pytest.mark.parametrize("limit", [0, MIB, 8 * MIB])
def test_without_room_all_goes_the_slower_way(limit):
    """The bound holds, nothing fails, and there is room again afterwards."""
    array = np.ones(MIB // 4)
    with OperationsCoordinator(cores=1, max_shared_bytes=limit) as coordinator:
        tokens = [arrays.as_it_is(array) for _ in range(12)]
        used = in_use(coordinator)
        assert used["arguments"] <= limit // 2
        results = [token.get(20) for token in tokens]
        assert all((result == array).all() for result in results)
        assert in_use(coordinator)["results"] <= limit // 2
        del results, tokens
        assert settled(coordinator) == NOTHING
        if limit == 8 * MIB:
            result = arrays.as_it_is(array).get(20)
            assert in_use(coordinator)["results"] == 2 * MIB
            assert (result == array).all()


def test_pending_bytes_are_counted():
    """`max_pending_bytes` sees what is in shared memory too."""
    with (
        gates.Gate() as gate,
        OperationsCoordinator(cores=1, max_pending_bytes=MIB, on_full="reject") as coordinator,
    ):
        token = arrays.hold(gate.address, np.ones(MIB // 4))
        with pytest.raises(AdmissionRejected, match="max_pending_bytes"):
            arrays.total(np.ones(100))
        gate.arrivals(1)
        gate.open()
        assert token.get(20) == MIB // 4
        assert arrays.total(np.ones(100)).get(20) == 100
        assert settled(coordinator) == NOTHING


async def test_a_large_result_is_an_argument_as_it_lies():
    """From core to core, at any depth, and it is not loaded on the way."""
    async with OperationsCoordinator(cores=2, max_shared_bytes=64 * MIB) as coordinator:
        made = arrays.ones(MIB // 8)
        sums = [arrays.total(made) for _ in range(4)]
        twice = arrays.doubled(arrays.as_it_is(made))
        kinds = arrays.kinds(made, named=bytes(70_000))
        assert await asyncio.gather(*sums) == [MIB // 8] * 4
        assert (await twice).sum() == 2 * MIB // 8
        assert [kind[0] for kind in await kinds] == ["ndarray", "bytes"]
        assert (await made).sum() == MIB // 8
        late = arrays.total(made)
        assert await late == MIB // 8
        del made, sums, twice, late
    assert coordinator.get_stats()["shared_memory"]["limit"] == 64 * MIB


def test_equal_large_values_of_tokens_run_on_one_core():
    """A content key looks at what is in shared memory, and not at where."""
    with OperationsCoordinator(cores=2):
        anchored = arrays.total.options(sticky_anchor="a", sticky_for=60)
        tokens = [anchored(arrays.ones(20_000)) for _ in range(6)]
        assert [token.get(20) for token in tokens] == [20_000] * 6
        assert len({token.core for token in tokens}) == 1


def test_tokens_made_inside_tokens_take_and_give_arrays(coordinator):
    """Wherever they run, and nothing of it stays."""
    assert arrays.lead(50_000).get(20) == 150_000
    assert arrays.lead.options(external_calls=["total"])(50_000).get(20) == 150_000
    assert settled(coordinator) == NOTHING


def test_a_map_takes_and_gives_arrays(coordinator):
    """Its batches go the same way."""
    items = [np.full(20_000, float(n)) for n in range(30)]
    assert list(arrays.total.map(items)) == [20_000.0 * n for n in range(30)]
    results = list(arrays.as_it_is.map(items))
    assert all((one == other).all() for one, other in zip(items, results, strict=True))
    del results
    assert settled(coordinator) == NOTHING


def test_an_executor_takes_and_gives_arrays():
    """As `submit` and as `map`."""
    array = np.ones(MIB // 8)
    with TokenGateExecutor(2) as executor:
        futures = [executor.submit(np.multiply, array, n) for n in range(6)]
        done = concurrent.futures.wait(futures).done
        assert sorted(future.result().sum() for future in done) == [n * MIB / 8 for n in range(6)]
        assert [each.sum() for each in executor.map(np.copy, [array] * 4)] == [MIB / 8] * 4
        assert executor.submit(len, bytes(MIB)).result() == MIB


def test_a_shared_value_is_stored_once(coordinator):
    """Any number of calls take it, wherever in their arguments."""
    array = np.arange(MIB // 8)
    with coordinator.share(array) as handle:
        assert handle.nbytes == MIB
        tokens = [arrays.total(handle) for _ in range(50)]
        nested = arrays.kinds(handle, named=handle)
        assert in_use(coordinator)["arguments"] == MIB
        assert [token.get(20) for token in tokens] == [array.sum()] * 50
        for kind, (_, _, found), writable in nested.get(20):
            assert (kind, found, writable) == ("ndarray", array.sum(), False)
        assert list(arrays.total.map([handle] * 20)) == [array.sum()] * 20
    assert handle.closed
    assert settled(coordinator) == NOTHING


def test_a_shared_value_is_released_when_nobody_can_reach_it(coordinator):
    """Not while a call that it was passed to has not ended, or a core looks at it."""
    handle = coordinator.share(np.ones(MIB // 8))
    token = arrays.keep(handle)
    handle.close()
    token.get(20)
    assert in_use(coordinator)["arguments"] == MIB
    assert arrays.sum_of_kept().get(20) == MIB // 8
    assert settled(coordinator) == NOTHING
    forgotten = coordinator.share(np.ones(MIB // 8))
    assert in_use(coordinator)["arguments"] == MIB
    del forgotten
    assert in_use(coordinator) == NOTHING


def test_any_value_can_be_shared(coordinator):
    """Large or small, with buffers or without."""
    for value in ([str(n) for n in range(20_000)], bytes(100_000), b"short", {"a": np.ones(9)}):
        loaded = arrays.as_it_is(coordinator.share(value)).get(20)
        assert type(loaded) is type(value)
        if not isinstance(value, dict):
            assert loaded == value


def test_a_shared_value_that_cannot_be_had_is_an_error_at_the_call(coordinator):
    """Closed, of a coordinator that was stopped, or without room: it says which."""
    handle = coordinator.share(np.ones(MIB // 8))
    handle.close()
    with pytest.raises(PayloadError, match=r"argument 1 \('array'\).*was closed; share it anew$"):
        arrays.total(handle)
    with pytest.raises(PayloadError, match="no room to share"):
        coordinator.share(np.ones(9 * MIB))
    other = coordinator.share(np.ones(MIB // 8))
    coordinator.stop()
    with pytest.raises(CoordinatorNotRunning):
        arrays.total(other)
    with pytest.raises(CoordinatorNotRunning, match="share"):
        coordinator.share(1)
    with (
        OperationsCoordinator(cores=1),
        pytest.raises(PayloadError, match="another coordinator"),
    ):
        arrays.total(other)
    with TokenGateExecutor(1) as executor, pytest.raises(PayloadError, match="another"):
        executor.submit(np.sum, other).result(20)
    with pytest.raises(TypeError, match="only as an argument"):
        other.__reduce__()


def test_what_cannot_be_shared(coordinator):
    """It is refused as an argument would be."""
    with pytest.raises(PayloadError, match=r"cannot be shared: .*lock"):
        coordinator.share(threading.Lock())


def test_an_anchored_call_takes_a_shared_value(coordinator):
    """It is part of what the call's content key is made from."""
    with coordinator.share(np.ones(MIB // 8)) as handle:
        anchored = arrays.total.options(sticky_anchor="a")
        assert [anchored(handle).get(20) for _ in range(3)] == [MIB // 8] * 3
