"""Functions that travel by value share the global variables of the module that they come from."""

from __future__ import annotations

import gc
import weakref
from textwrap import dedent

import pytest
from scripts import command, run

from tokengate_mp.wire.payload import by_value
from tokengate_mp.wire.payload.codec import loads


@pytest.fixture
def script():
    """The variables of a script: what `__main__` is to the functions in it."""
    variables = {"__name__": "__main__"}
    exec(  # noqa: S102 - a script
        dedent("""
        connection = None
        cache = {}

        def connect(value):
            global connection
            connection = value

        def connected():
            return connection

        def remember(key, value):
            cache[key] = value

        def recall(key):
            return cache.get(key)

        def helper():
            return "old"

        def helped():
            return helper()

        class Box:
            def look(self):
                return connection
        """),
        variables,
    )
    return variables


def sent(function):
    """A function as it arrives elsewhere."""
    return loads(by_value.define(function))


def test_what_one_function_binds_another_one_finds(script):
    """A variable that is bound there has that value for all functions there; here it has not."""
    connect, connected = sent(script["connect"]), sent(script["connected"])
    connect(7)
    assert connected() == 7
    assert sent(script["connected"])() == 7, "also for one that comes later"
    assert script["connected"]() is None


def test_what_one_function_puts_into_an_object_another_one_finds(script):
    """An object comes once, and is the same for all."""
    remember, recall = sent(script["remember"]), sent(script["recall"])
    remember("a", 1)
    assert recall("a") == 1
    assert sent(script["recall"])("a") == 1
    assert script["cache"] == {}


def test_what_is_bound_anew_where_it_comes_from_comes_again(script):
    """As when a cell of a notebook is run again; a later function brings it, for all."""
    helped = sent(script["helped"])
    assert helped() == "old"
    exec("def helper():\n    return 'new'", script)  # noqa: S102 - a script
    assert sent(script["helped"])() == "new"
    assert helped() == "new"


def test_an_initializer_of_a_script_prepares_what_its_functions_use(tmp_path):
    """As with a module: a variable that it binds is there for functions and methods."""
    ended = run(
        command(
            tmp_path / "script.py",
            """
            from tokengate_mp import OperationsCoordinator, TokenGateExecutor, task_token_guard

            connection = None

            def connect(value):
                global connection
                connection = value

            class Box:
                def look(self):
                    return connection

            @task_token_guard()
            def use():
                return connection, Box().look()

            with TokenGateExecutor(2, initializer=connect, initargs=(7,)) as executor:
                print(executor.submit(use.__wrapped__).result(), connection)
            with OperationsCoordinator(cores=2, initializer=connect, initargs=(8,)):
                print(use().get(), connection)
            """,
        )
    )
    assert ended.stdout.splitlines() == ["(7, 7) None", "(8, 8) None"], ended.stderr


def test_an_older_copy_brings_nothing_back(script):
    """A definition that was made before arrives after: what is newer stays."""
    before = by_value.define(script["connected"])
    script["connection"] = "rebound"
    assert sent(script["connected"])() == "rebound"
    assert loads(before)() == "rebound"


def test_two_scripts_have_nothing_in_common(script):
    """Modules of equal names, such as two notebooks, are two."""
    other = {"__name__": "__main__", "connection": "other"}
    exec("def connected():\n    return connection", other)  # noqa: S102 - a script
    sent(script["connect"])("mine")
    assert sent(other["connected"])() == "other"


def test_values_are_not_kept_alive(script):
    """What a variable was bound to when it was sent may go when the script lets go of it."""

    class Large:
        pass

    script["connection"] = Large()
    gone = weakref.ref(script["connection"])
    by_value.define(script["connected"])
    script["connection"] = None
    gc.collect()
    assert gone() is None
