from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengate_mp.wire.payload.fingerprint import SHORT, key

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
) | st.sets(st.integers())


class Point:
    def __init__(self, x):
        self.x = x


@given(args=st.lists(VALUES), kwargs=st.dictionaries(st.text(min_size=1), VALUES))
def test_equal_content_has_one_key(args, kwargs):
    """Copies of arguments have the key of the arguments, keywords in whatever order."""
    backwards = dict(reversed(copy.deepcopy(kwargs).items()))
    assert key("a", tuple(args), kwargs) == key("a", tuple(copy.deepcopy(args)), backwards)


def test_sharing_is_no_content():
    """Whether two equal parts are one object makes no difference."""
    row = ["x" * 40] * 3
    apart = [["x" * 39 + "x" for _ in range(3)] for _ in range(2)]
    assert key("a", ([row, row],), {}) == key("a", (apart,), {})


DIFFERENT = [
    ((), {}),
    ((1,), {}),
    ((True,), {}),
    ((1.0,), {}),
    (("1",), {}),
    ((b"1",), {}),
    ((2**70,), {}),
    (("\ud800",), {}),
    (("x" * SHORT,), {}),
    (("x" * SHORT + "x",), {}),
    (([1],), {}),
    (((1,),), {}),
    (({"a": 1},), {}),
    (({1},), {}),
    ((1, 2), {}),
    ((), {"a": 1}),
    ((), {"b": 1}),
    ((), {"a": [1]}),
    ((1,), {"a": 1}),
    ((np.arange(5),), {}),
    ((np.arange(6),), {}),
    ((Point(1),), {}),
    ((Point(2),), {}),
    ((lambda: 1,), {}),
    ((lambda: 2,), {}),
]


def test_different_content_has_different_keys():
    """Value, type, position, name and anchor all count."""
    keys = [key(anchor, args, kwargs) for anchor in "ab" for args, kwargs in DIFFERENT]
    assert len(set(keys)) == len(keys)


def test_a_structure_that_would_never_end_without_memo():
    """Shared or contained in itself, it has a key all the same."""
    deep = [0]
    for _ in range(200):
        deep = [deep, deep]
    assert key("a", (deep,), {}) == key("a", (deep,), {})
    circle = []
    circle.append(circle)
    assert key("a", (circle,), {}) == key("a", (circle,), {})


def test_large_content_is_not_kept():
    """A key is short, however much it stands for."""
    assert len(key("a", (b"x" * 10**6,), {})) < SHORT
    assert len(key("a", (np.zeros(10**6),), {}, 8 * 10**6)) < SHORT


def test_what_cannot_be_pickled():
    """It raises what pickling it does."""
    with pytest.raises(TypeError, match="cannot pickle"):
        key("a", (threading.Lock(),), {})
