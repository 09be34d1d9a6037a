from __future__ import annotations

import functools
import operator
import pickle
import sys
import types

import pytest

from tokengate_mp import task_token_guard
from tokengate_mp.config.manner import ORDINARY
from tokengate_mp.wire.payload.definition import about, define, name_of, named, resolve
from tokengate_mp.wire.protocol.records import encode

HERE = __name__


def plain(x):
    """Can be imported."""
    return x + 1


@task_token_guard()
def decorated(x):
    """Can be imported, decorated."""
    return x + 2


def _wrapped_in_the_users_own(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


@task_token_guard()
@_wrapped_in_the_users_own
def twice_decorated(x):
    """Can be imported, decorated; what is decorated is a wrapper itself."""
    return x + 3


class Holder:
    def method(self, x):
        return x + 4

    @staticmethod
    def static(x):
        return x + 5

    @classmethod
    def of_class(cls, x):
        return x + 6

    def __init__(self, x=0):
        self.x = x

    def __eq__(self, other):
        return self.x == other.x

    __hash__ = None


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (plain, f"{HERE}:plain"),
        (decorated, f"{HERE}:decorated"),
        (decorated.__wrapped__, f"{HERE}:decorated"),
        (twice_decorated.__wrapped__, f"{HERE}:twice_decorated"),
        (Holder.method, f"{HERE}:Holder.method"),
        (Holder.static, f"{HERE}:Holder.static"),
        (Holder, f"{HERE}:Holder"),
        (len, "builtins:len"),
        (operator.add, "_operator:add"),
    ],
)
def test_what_can_be_imported_goes_by_name(function, name):
    """A function that importing gives back, plain or from under its decorator, is just its name."""
    assert name_of(function) == name
    assert about(define(function)) == (name, ORDINARY)
    plain_one = getattr(function, "__wrapped__", None) if function is decorated else function
    assert resolve(define(function)) is plain_one


def test_decorator_is_taken_off_in_the_core_process():
    """The name stands for the decorated function; what a core process calls is the plain one."""
    assert named(f"{HERE}:decorated") is decorated.__wrapped__
    assert resolve(define(decorated.__wrapped__))(1) == 3


class _Trap:
    def __getattr__(self, name):
        raise RuntimeError(name)


def _renamed(**attributes):
    function = types.FunctionType(plain.__code__, globals())
    for name, value in attributes.items():
        setattr(function, name, value)
    return function


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + 1,
        functools.partial(operator.add, 1),
        Holder(1).method,
        Holder.of_class,
        _renamed(),
        _renamed(__module__="__main__"),
        _renamed(__module__=None),
        _renamed(__module__="no.such.module"),
        _renamed(__qualname__="no_such_name"),
    ],
)
def test_what_cannot_be_imported_goes_by_value(function):
    """A function that its own name does not lead to is sent itself, and does the same there."""
    assert name_of(function) is None
    assert resolve(define(function))(1) == function(1)


def test_looking_a_name_up_may_fail_in_any_way(monkeypatch):
    """A module whose attributes raise when they are looked up costs a function its name only."""
    monkeypatch.setitem(sys.modules, "trap", _Trap())
    assert name_of(_renamed(__module__="trap")) is None


def test_nested_functions_keep_what_they_enclose():
    """A function nested in another goes by value, with the variables that it has from there."""
    base = 40

    def nested(x):
        return plain(x) + base

    assert resolve(define(nested))(1) == 42


def test_name_that_leads_nowhere_is_an_error_of_its_own():
    """What importing raises is what the tokens of that function get."""
    with pytest.raises(ModuleNotFoundError):
        resolve(encode(("no.such.module:function", None, ORDINARY)))
    with pytest.raises(AttributeError):
        resolve(encode((f"{HERE}:no_such_function", None, ORDINARY)))


def test_what_encloses_the_unsendable_is_refused():
    """A closure over a generator cannot be sent, and says so."""
    generator = (x for x in "abc")
    with pytest.raises(pickle.PicklingError, match="generator"):
        define(lambda: next(generator))
