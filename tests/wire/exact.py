"""Whether two values are the same in every respect that equality leaves out."""

from __future__ import annotations

import dataclasses
import decimal
import math
import struct
from collections.abc import Mapping

import msgspec
import numpy as np


def same(one, other):  # noqa: C901, PLR0911, PLR0912 - one case for each kind of value
    """Whether the types are the same ones, of all parts too, and the values bit for bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, type):
        return one is other
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other) or (
            math.isnan(one) and math.isnan(other)
        )
    if isinstance(one, decimal.Decimal):
        return one.as_tuple() == other.as_tuple()
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, np.ndarray) and one.dtype.hasobject:
        return same(one.tolist(), other.tolist())
    if isinstance(one, np.ndarray):
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    if isinstance(one, np.generic):
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if isinstance(one, memoryview):
        described = [(m.format, m.shape, m.readonly, m.tobytes()) for m in (one, other)]
        return described[0] == described[1]
    if isinstance(one, Mapping):
        return same(list(one.items()), list(other.items())) and _same_attributes(one, other)
    if isinstance(one, (set, frozenset)):
        left = list(other)
        for each in one:
            match = next((i for i, there in enumerate(left) if same(each, there)), None)
            if match is None:
                return False
            del left[match]
        return not left
    if isinstance(one, (list, tuple)):
        return (
            len(one) == len(other) and all(map(same, one, other)) and _same_attributes(one, other)
        )
    if dataclasses.is_dataclass(one):
        names = [field.name for field in dataclasses.fields(one)]
        return all(same(getattr(one, name), getattr(other, name)) for name in names)
    if isinstance(one, msgspec.Struct):
        return same(msgspec.structs.astuple(one), msgspec.structs.astuple(other))
    if isinstance(one, BaseException):
        return same(one.args, other.args) and _same_attributes(one, other)
    return one == other and _same_attributes(one, other)


def _same_attributes(one, other):
    return not hasattr(one, "__dict__") or same(vars(one), vars(other))
