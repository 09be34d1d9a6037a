"""The arena within one process: blocks live as long as somebody looks, and memory is given back."""

from __future__ import annotations

import gc
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest

from tokengate_mp import PayloadError
from tokengate_mp.wire.arena import arena as module
from tokengate_mp.wire.arena import pages
from tokengate_mp.wire.arena.arena import CoreArena
from tokengate_mp.wire.arena.pages import Pages
from tokengate_mp.wire.arena.regions import ParentArena
from tokengate_mp.wire.payload.attachments import (
    AttachedPickle,
    AttachedRecord,
    attached,
    attachments_of,
)
from tokengate_mp.wire.payload.buffers import LARGE, pack, pack_call, place_of, taken_up
from tokengate_mp.wire.payload.codec import loads, to_pickle

MIB = 1 << 20


@pytest.fixture(params=["memfd", "portable"])
def arena(request, monkeypatch):
    """An arena of 16 MiB for two cores: 8 MiB for arguments, 4 MiB for each core's results."""
    if request.param == "portable":
        monkeypatch.setenv("TOKENGATE_MP_PORTABLE", "1")
    made = ParentArena.make(16 * MIB, 2)
    assert made is not None
    yield made
    made.close_arena()


def allocated(arena: ParentArena) -> int:
    """How many bytes of memory its file takes."""
    return os.fstat(arena._address.fd).st_blocks * 512


def test_a_large_value_goes_aside_and_comes_back_as_a_view(arena):
    """What travels is short; what is loaded is equal, and cannot be changed."""
    array = np.arange(100_000)
    packed = pack(array, arena)
    assert isinstance(packed, AttachedPickle)
    assert len(packed) < 1000
    loaded = loads(packed)
    assert (loaded == array).all()
    assert not loaded.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        loaded[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        loaded.flags.writeable = True


def test_a_small_value_is_an_ordinary_pickle(arena):
    """Below the threshold, in sum, nothing goes aside, and what is loaded can be changed."""
    for value in ([1, 2], np.ones(10), np.ones(LARGE // 8 - 64), [np.ones(LARGE // 32)] * 2):
        packed = pack(value, arena)
        assert type(packed) is bytes
        assert packed == to_pickle(value)
        assert not arena.blocks


def test_small_arrays_go_with_the_pickle(arena):
    """However many there are: one block, and what is loaded can be changed."""
    arrays = [np.full(LARGE // 32, n) for n in range(8)]
    packed = pack(arrays, arena)
    assert len(attachments_of(packed)) == 1
    loaded = loads(packed)
    assert all((one == other).all() for one, other in zip(arrays, loaded, strict=True))
    assert all(array.flags.writeable for array in loaded)


def test_many_buffers_make_one_block(arena):
    """Each is aligned for vector instructions."""
    arrays = [np.full(LARGE // 8 + 3, n) for n in range(8)]
    packed = pack(arrays, arena)
    assert len(attachments_of(packed)) == 1
    loaded = loads(packed)
    assert all((one == other).all() for one, other in zip(arrays, loaded, strict=True))
    assert all(array.ctypes.data % 64 == 0 for array in loaded)


def test_a_large_pickle_goes_aside_as_well(arena):
    """Also a value without buffers of its own."""
    value = [str(n) for n in range(50_000)]
    packed = pack(value, arena)
    assert len(packed) < 1000
    assert loads(packed) == value


def test_a_view_outlives_all_else(arena):
    """The block is free when the last view of it dies, and not before."""
    loaded = loads(pack(np.ones(MIB // 8), arena))
    part = memoryview(loaded)[5:10]
    assert arena.bytes_in_use() == (MIB, 0)
    del loaded
    gc.collect()
    assert arena.bytes_in_use() == (MIB, 0)
    assert part.tolist() == [1.0] * 5
    del part
    assert arena.bytes_in_use() == (0, 0)
    assert pack(np.ones(7 * MIB // 8), arena).attachments[0].place.offset == 0


def test_pages_are_used_again(arena):
    """However often, no more memory is taken than is in use at once."""
    for _ in range(20):
        pack(np.ones(2 * MIB // 8), arena)
    assert allocated(arena) == 2 * MIB


def test_without_room_a_value_travels_as_ever(arena):
    """No error and no signal: an ordinary pickle."""
    first = pack(np.ones(5 * MIB // 8), arena)
    second = pack(np.full(5 * MIB // 8, 2), arena)
    assert type(second) is bytes
    assert loads(second).sum() == 10 * MIB // 8
    del first
    assert isinstance(pack(np.ones(5 * MIB // 8), arena), AttachedPickle)


def test_without_memory_a_value_travels_as_ever(arena, monkeypatch):
    """What the system refuses is no room, whether pages are new or to be mapped once more."""

    def refuse(*_args):
        raise OSError(28, "No space left on device")

    written = os.pwrite

    def partly(fd, data, at):
        return refuse() if len(data) <= MIB // 2 else written(fd, data[: MIB // 2], at)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", partly)
        assert type(pack(np.ones(MIB // 8), arena)) is bytes
        assert arena.used == 0
    pack(np.ones(2 * MIB // 8), arena)
    with monkeypatch.context() as patched:
        patched.setattr(Pages, "_allocate", refuse)
        assert type(pack(np.ones(MIB // 8), arena)) is bytes
        assert arena.used == 0
    packed = pack(np.full(MIB // 8, 7.0), arena)
    assert isinstance(packed, AttachedPickle)
    assert (loads(packed) == 7).all()


def test_an_interrupted_write_leaves_nothing(arena, monkeypatch):
    """Ctrl-C in the middle of a large argument: its place is free again."""

    def interrupt(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "pwrite", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pack(np.ones(MIB // 8), arena)
    assert arena.used == 0


@pytest.fixture(params=["populated", "an old kernel", "without a file"])
def way(request, monkeypatch):
    """The only way in which pages are made ready."""
    if request.param == "an old kernel":
        monkeypatch.setattr(pages, "_POPULATE_WRITE", 0x7FFF)
    elif request.param == "without a file":
        monkeypatch.setattr(pages, "_LINUX", False)
    return request.param


@pytest.mark.usefixtures("way")
def test_whatever_way_bytes_are_written_they_arrive(arena):
    """Into new pages, pages that were used, and both; where each of the ways is the only one."""
    random = np.random.default_rng(1)
    kept = []
    for round_ in range(30):
        value = [
            random.integers(0, 255, n, dtype=np.uint8) for n in random.integers(70_000, MIB, 3)
        ]
        packed = pack(value, arena)
        assert isinstance(packed, AttachedPickle), round_
        kept.append((value, loads(packed)))
        del packed
        if len(kept) > 2:
            del kept[random.integers(0, 3)]
        for sent, came in kept:
            assert all((one == other).all() for one, other in zip(sent, came, strict=True))
    assert allocated(arena) >= arena.used > 0


def test_pages_are_there_before_they_are_copied_into(arena, way):
    """All of them: what is merely promised ends in SIGBUS where memory is short."""
    own, region = Pages(arena._address.fd, 0), arena.region(0)
    file = own.prepare(region, 0, MIB)
    assert (file is None) == (way == "without a file")
    if file is not None:
        os.close(file)  # it could not be written to, and what it was for is used again
    assert own.prepare(region, 0, MIB) is None
    assert allocated(arena) == MIB


def test_the_file_is_open_for_as_long_as_it_is_written_to(arena, monkeypatch):
    """A thread that closes the arena meanwhile closes no descriptor of a writer's."""
    before = set(Path("/proc/self/fd").iterdir())
    written = os.pwrite
    closed = []

    def close_first(fd, data, at):
        if not closed:
            closed.append(fd)
            thread = threading.Thread(target=arena.close_arena)
            thread.start()
            thread.join()
        return written(fd, data, at)

    monkeypatch.setattr(os, "pwrite", close_first)
    packed = pack(np.ones(MIB // 8), arena)
    assert closed
    assert type(packed) is bytes  # there is no arena any more, so it carries all of it
    assert loads(packed).sum() == MIB // 8
    assert set(Path("/proc/self/fd").iterdir()) <= before


def test_results_are_read_from_the_region_of_their_core(arena):
    """What a core put there stays until the parent looks at it no more, and then it is told so."""
    core = CoreArena(arena.berth())
    try:
        packed = pack(np.ones(MIB // 8), core)
        assert type(packed) is bytes
    finally:
        module._arenas[arena.key] = arena
    came = taken_up(packed)
    assert arena.bytes_in_use() == (0, MIB)
    loaded = loads(came)
    del came
    assert loaded.sum() == MIB // 8
    assert arena.take_released() == {}
    region = place_of(packed).region
    del loaded
    returned = arena.take_released()
    assert returned == {region: [0]}
    core.take_back(returned[region])
    assert core.used == 0


def test_the_memory_of_a_core_that_ended_is_given_back(arena):
    """All of it but what is still looked at; and that with its last view."""
    core = CoreArena(arena.berth())
    module._arenas[arena.key] = core
    packed = [pack(np.ones(MIB // 8), core) for _ in range(3)]
    module._arenas[arena.key] = arena
    loaded = loads(taken_up(packed[1]))
    region = core._address.region
    arena.retire_region(region)
    assert allocated(arena) == MIB
    assert loaded.sum() == MIB // 8
    regions = {arena.berth().region for _ in range(8)}
    assert region % 9 not in {each % 9 for each in regions if each}
    del loaded
    assert allocated(arena) == 0
    assert arena.take_released() == {}
    assert arena.berth().region == region + 9


def test_a_core_without_a_region_writes_nothing(arena):
    """When results of processes that ended lie in every one, the next go by the ring."""
    for _ in range(8):
        assert arena.berth().region
    core = CoreArena(arena.berth())
    module._arenas[arena.key] = arena
    assert type(pack(np.ones(MIB // 8), core)) is bytes


def test_views_outlive_the_arena():
    """Closed, it gives back all that nobody looks at; what is looked at stays."""
    arena = ParentArena.make(16 * MIB, 2)
    fd = os.dup(arena._address.fd)
    first, second = pack(np.ones(MIB // 8), arena), pack(np.zeros(MIB // 8), arena)
    loaded = loads(first)
    arena.close_arena()
    del second
    assert os.fstat(fd).st_blocks * 512 == MIB
    assert loaded.sum() == MIB // 8
    assert loads(first).sum() == MIB // 8
    assert type(pack(np.ones(MIB // 8), arena)) is bytes
    del loaded, first
    assert os.fstat(fd).st_blocks == 0
    os.close(fd)


def test_what_was_let_go_cannot_be_loaded(arena):
    """It is an error that says so, not somebody else's bytes."""
    travelling = bytes(pack(np.ones(MIB // 8), arena))
    with pytest.raises(PayloadError, match="let go"):
        loads(travelling)


@pytest.mark.parametrize(
    "value",
    [
        bytes(LARGE),
        bytearray(b"x" * LARGE),
        memoryview(bytes(range(256)) * 256),
        memoryview(np.arange(60_000).reshape(200, 300)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_pieces_of_memory_keep_their_type(arena, value):
    """bytes, bytearray and memoryview come as such; a view as a read-only one."""
    packed = pack_call((value,), {"named": value}, arena)
    assert attachments_of(packed)
    (loaded,), named = loads(packed)
    for each in (loaded, named["named"]):
        assert type(each) is type(value)
        assert each == value
        if type(each) is memoryview:
            assert each.readonly
            assert (each.format, each.shape) == (value.format, value.shape)


def test_writable_values_are_copies(arena):
    """They can be changed, and nobody else sees that."""
    array = np.ones(MIB // 8)
    array.flags.writeable = False
    packed = pack_call((array, memoryview(bytes(LARGE))), {}, arena, writable=True)
    for _ in range(2):
        (loaded, view), _ = loads(packed)
        assert (loaded == 1).all()
        loaded += 1
        view[0] = 1


def test_a_record_counts_with_its_blocks(arena):
    """What limits the bytes that are pending sees how many there are."""
    record = attached(b"record", pack(np.ones(MIB // 8), arena))
    assert isinstance(record, AttachedRecord)
    assert len(record) == 6 + MIB
    assert attached(b"record", b"plain") == b"record"


def test_no_ordinary_pickle_looks_like_one_in_a_block():
    """Whatever is pickled: its first bytes are others."""
    for value in (b"", b"x" * 32, bytes(64), "C", None, 32, [b"x" * 32], bytearray(32)):
        assert place_of(pickle.dumps(value, 5)) is None


def test_frames_go_aside(arena):
    """A pandas frame is loaded onto the block, where pandas is installed."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": np.arange(50_000), "b": np.arange(50_000) / 2})
    packed = pack(frame, arena)
    assert attachments_of(packed)
    assert len(packed) < 3000
    assert loads(packed).equals(frame)


def test_tables_go_aside(arena):
    """So is an Arrow table, where Arrow is installed."""
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"a": list(range(50_000)), "b": ["x" * (n % 7) for n in range(50_000)]})
    packed = pack(table, arena)
    assert attachments_of(packed)
    assert len(packed) < 3000
    assert loads(packed).equals(table)
