from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import weakref
from textwrap import dedent

import pytest
from children import environment

from tokengate_mp.wire.payload import by_value
from tokengate_mp.wire.payload.by_value import define, dumps
from tokengate_mp.wire.payload.definition import resolve


def make(name="Local", **attributes):
    """A class that cannot be imported."""
    return type(name, (), {"__module__": "__main__", "__qualname__": name, **attributes})


def forgotten(*classes):
    """Make this process one that has never seen these classes."""
    for cls in classes:
        by_value._definitions.pop(by_value._singles.give(cls), None)
        by_value._singles.forget(cls)


def test_known_class_is_used_as_it_is():
    """An instance that comes back is one of the class that is here, which nothing is done to."""
    cls = make(x=1)
    pickled = dumps(cls())
    cls.x = 2
    assert type(pickle.loads(pickled)) is cls
    assert cls.x == 2


def test_unknown_class_is_made_once():
    """Two values that come apart have one class, and it is the one that is sent on."""
    cls = make(x=1)
    pickled = [dumps(cls()) for _ in range(2)]
    forgotten(cls)
    one, other = map(pickle.loads, pickled)
    assert type(one) is type(other)
    assert type(one) is not cls
    assert type(one).x == 1
    assert pickle.loads(dumps(one)).__class__ is type(one)
    assert dumps(type(one)) == dumps(type(other))


def test_class_is_taken_apart_once(monkeypatch):
    """From the second instance on only the identity and the bytes that are there are sent."""
    cls = make()
    first = dumps(cls())

    def unexpected(*_args):
        raise AssertionError("again")

    monkeypatch.setattr(by_value.kinds, "take_apart", unexpected)
    assert dumps(cls()) == first


def test_classes_that_refer_to_each_other_are_made_together():
    """Cycles between classes, through attributes and methods, come out as cycles."""
    left, right = make("Left"), make("Right")
    left.other, right.other = right, left
    left.own = left
    pickled = dumps(left())
    forgotten(left, right)
    copy = type(pickle.loads(pickled))
    assert copy is not left
    assert copy.own is copy
    assert copy.other.other is copy


def test_base_that_is_known_is_not_made_anew():
    """An unknown class of a base that is known gets that base, which is not touched."""
    base = make("Base", kept=1)
    derived = type("Derived", (base,), {"__module__": "__main__"})
    pickled = dumps(derived())
    forgotten(derived)
    base.kept = 2
    copy = type(pickle.loads(pickled))
    assert copy is not derived
    assert copy.__bases__ == (base,)
    assert base.kept == 2


def test_definition_shares_global_variables_with_its_classes():
    """A function and the classes it uses go as one: what one of them changes, the other sees."""
    code = """
        import pickle, sys
        from tokengate_mp.wire.payload.definition import define
        seen = []
        class Recorder:
            def record(self):
                seen.append(1)
        def function():
            Recorder().record()
            return len(seen)
        sys.stdout.buffer.write(define(function))
    """
    pickled = subprocess.run(
        [sys.executable, "-c", dedent(code)], env=environment(), capture_output=True, check=True
    ).stdout
    function = resolve(pickled)
    assert [function(), function()] == [1, 2]


def test_failed_definition_leaves_no_half_made_class():
    """If a class cannot be put together here, the next attempt begins anew, and fails like it."""
    cls = make(x=_Refusing())
    pickled = dumps(cls())
    forgotten(cls)
    for _ in range(2):
        with pytest.raises(ImportError, match="not here"):
            pickle.loads(pickled)
    _Refusing.refuses = False
    try:
        assert type(pickle.loads(pickled).x) is _Refusing
    finally:
        _Refusing.refuses = True


class _Refusing:
    refuses = True

    def __reduce__(self):
        return _refusing, ()


def _refusing():
    if _Refusing.refuses:
        raise ImportError("not here")
    return _Refusing()


def test_threads_that_meet_an_unknown_class_agree_on_it():
    """Crew threads that load the same class for the first time end up with one class."""
    for _ in range(20):
        cls = make(f=lambda self: self)
        pickled = dumps(cls())
        forgotten(cls)
        start, made = threading.Barrier(4), []

        def load(start=start, pickled=pickled, made=made):
            start.wait()
            made.append(type(pickle.loads(pickled)))

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(made)) == 1


def test_classes_that_arrived_are_kept_for_a_while_and_not_for_ever():
    """A class that only arguments refer to is still there for the next token, within bounds."""
    cls = make()
    pickled = dumps(cls())
    forgotten(cls)
    here = weakref.ref(type(pickle.loads(pickled)))
    assert here() is not None
    assert by_value._remembered.maxlen == by_value.REMEMBERED


def test_sent_classes_are_not_kept_alive():
    """Sending an instance of a class does not keep the class for ever."""
    import gc

    cls = make()
    dumps(cls())
    gone = weakref.ref(cls)
    before = len(by_value._definitions)
    del cls
    gc.collect()
    assert gone() is None
    assert len(by_value._definitions) < before


def test_importable_classes_are_only_named():
    """A class that can be imported is a name in the bytes, as in every pickle."""
    assert len(dumps(threading.Event)) < 60
    assert pickle.loads(dumps(threading.Event)) is threading.Event


def test_definition_of_a_function_is_one_record():
    """What `define` gives is loaded by pickle alone, without anything of this module."""
    base = 5
    assert pickle.loads(define(lambda x: x + base))(1) == 6
