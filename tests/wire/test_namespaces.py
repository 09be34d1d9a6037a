"""Functions that travel by value share the global variables of the module that they come from."""

from __future__ import annotations

import gc
import weakref
from textwrap import dedent

import elsewhere
import pytest
from scripts import command, run

from tokengate_mp.wire.payload import by_value
from tokengate_mp.wire.payload.definition import define, defined


@pytest.fixture
def script():
    """The variables of a script: what `__main__` is to the functions in it."""
    variables = {"__name__": "__main__"}
    exec(  # noqa: S102 - a script
        dedent("""
        import threading

        connection = None
        cache = {}
        lock = threading.Lock()
        rate = 1

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

        def counted():
            return len("abc")

        class Box:
            def look(self):
                return connection, rate

            def __repr__(self):
                return f"Box at {rate}"

        def boxed():
            return Box().look()

        def nested():
            class Inner:
                value = rate
            return Inner.value

        def locked():
            with lock:
                return rate
        """),
        variables,
    )
    return variables


@pytest.fixture
def there():
    """Another process."""
    process = elsewhere.Elsewhere()
    yield process
    process.close()


def send(there, script, *names):
    """Send functions as they are now, under their names."""
    for name in names:
        there.define(name, define(script[name]))


def test_what_one_function_binds_another_one_finds(script, there):
    """A variable that is bound there has that value for all functions there; here it has not."""
    send(there, script, "connect", "connected")
    there.call("connected")
    there.call("connect", 7)
    assert there.call("connected") == 7
    send(there, script, "connected")
    assert there.call("connected") == 7, "also for one that comes later"
    assert script["connected"]() is None


def test_what_one_function_puts_into_an_object_another_one_finds(script, there):
    """An object comes once, and is the same for all."""
    send(there, script, "remember", "recall")
    there.call("remember", "a", 1)
    assert there.call("recall", "a") == 1
    send(there, script, "recall")
    assert there.call("recall", "a") == 1
    assert script["cache"] == {}


def test_each_definition_is_called_with_the_variables_that_it_came_with(script, there):
    """Older ones too, in any order: a definition brings its variables whenever it is called."""
    there.define(1, define(script["helped"]))
    exec("def helper():\n    return 'new'", script)  # noqa: S102 - a script
    there.define(2, define(script["helped"]))
    del script["helper"]
    there.define(3, define(script["helped"]))
    assert [there.call(key) for key in (1, 2, 1, 2)] == ["old", "new", "old", "new"]
    with pytest.raises(AssertionError, match="NameError"):
        there.call(3)
    assert there.call(1) == "old"


def test_a_name_of_the_language_may_be_bound_and_unbound(script, there):
    """What shadows a built-in function is seen, and so is that it does no more."""
    first = defined(script["counted"])
    there.define(1, first.definition)
    script["len"] = lambda _: "shadow"
    assert not first.unchanged()
    there.define(2, define(script["counted"]))
    del script["len"]
    there.define(3, define(script["counted"]))
    assert [there.call(key) for key in (1, 2, 3, 2)] == [3, "shadow", 3, "shadow"]


@pytest.mark.parametrize(
    ("function", "name"),
    [("boxed", "connection"), ("boxed", "Box"), ("nested", "rate"), ("helped", "helper")],
)
def test_a_change_is_seen_wherever_the_variable_is_named(script, function, name):
    """In the function, in methods of classes that it names, in classes within it."""
    first = defined(script[function])
    assert first.unchanged()
    script["other"] = 1
    assert first.unchanged()
    script[name] = object()
    assert not first.unchanged()
    if function != "nested":
        return
    assert "rate" in defined(script["nested"]).definition.decode("latin-1")


def test_instances_bring_the_variables_of_their_class(script, there):
    """An argument's methods see the variables as they were when it was encoded."""
    box = script["Box"]()
    first = by_value.dumps(box)
    assert by_value.dumps(box) == first
    script["rate"] = 2
    second = by_value.dumps(box)
    assert [there.load(each) for each in (first, second, first)] == [
        "Box at 1",
        "Box at 2",
        "Box at 1",
    ]


def test_locks_of_a_script_are_each_process_s_own(script, there):
    """A global lock is made anew there, free, and in each process one."""
    with script["lock"]:
        send(there, script, "locked")
        assert there.call("locked") == 1
    with pytest.raises(TypeError, match="lock"):
        by_value.dumps(script["lock"])


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


def test_two_scripts_have_nothing_in_common(script, there):
    """Modules of equal names, such as two notebooks, are two; a copy of one is another one."""
    other = {"__name__": "__main__", "connection": "other"}
    exec("def connected():\n    return connection", other)  # noqa: S102 - a script
    send(there, script, "connect")
    third = dict(script)
    exec("def connected():\n    return connection", third)  # noqa: S102 - a script
    there.call("connect", "mine")
    there.define("other", define(other["connected"]))
    there.define("third", define(third["connected"]))
    assert there.call("other") == "other"
    assert there.call("third") is None


def test_values_are_not_kept_alive(script):
    """What a variable was bound to when it was sent may go when the script lets go of it."""

    class Large:
        pass

    script["connection"] = Large()
    gone = weakref.ref(script["connection"])
    first = defined(script["connected"])
    assert first.unchanged()
    script["connection"] = None
    gc.collect()
    assert gone() is None
    assert not first.unchanged(), "though it is None now, and so is what is gone"


def test_a_module_that_is_forgotten_goes_as_a_whole(script):
    """Nothing here keeps the variables of a module, or its functions, alive."""
    function = script["boxed"]
    first = defined(function)
    by_value.dumps(script["Box"]())
    gone = weakref.ref(function)
    assert first.unchanged()
    del function, first
    script.clear()
    gc.collect()
    assert gone() is None
