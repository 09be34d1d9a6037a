"""The decorator: what a decorated function is, what is refused, and what a call does."""

from __future__ import annotations

import copy
import functools
import inspect
import math
import pickle
import threading
import typing

import cloudpickle
import pytest
import work

from tokengate_mp import (
    CoordinatorNotRunning,
    OperationsCoordinator,
    PayloadError,
    Token,
    TokenFunction,
    task_token_guard,
)


@task_token_guard()
def plain(first: int, second: str = "two", *rest: int, flag: bool = False) -> tuple[object, ...]:
    """What it does."""
    return first, second, rest, flag


@task_token_guard(weight="heavy", tags={"team": "blue"})
def tagged() -> None:
    """An example with a weight and a tag."""


class Account:
    rate = 3

    def __init__(self, balance: int) -> None:
        self.balance = balance

    @task_token_guard()
    def add(self, amount: int) -> int:
        return self.balance + amount

    @staticmethod
    @task_token_guard()
    def double(amount: int) -> int:
        return amount * 2

    @classmethod
    @task_token_guard()
    def interest(cls, amount: int) -> int:
        return amount * cls.rate


@pytest.fixture
def coordinator():
    """A coordinator with one core."""
    with OperationsCoordinator(cores=1) as running:
        yield running


# ---- what a decorated function is


def test_operation_type_defaults_to_module_and_qualname():
    """Without a name of its own, an operation is called by the function's module and qualname."""

    @task_token_guard()
    def nested() -> None: ...

    assert plain.operation_type == "test_decorator.plain"
    assert Account.add.operation_type == "test_decorator.Account.add"
    where = "test_operation_type_defaults_to_module_and_qualname.<locals>.nested"
    assert nested.operation_type == f"test_decorator.{where}"


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("resize", "medium"),
        ("heavy_hash", "heavy"),
        ("LightTouch", "light"),
        ("highlight", "light"),
        ("heavy_and_light", "heavy"),
    ],
)
def test_weight_is_read_from_the_name(name, weight):
    """The words heavy and light in an operation_type set the weight; otherwise it is medium."""
    assert task_token_guard(name)(math.gcd).token_options.weight == weight


def test_given_weight_goes_before_the_name():
    """A weight that is given, as a keyword or as a tag, counts more than the name."""
    assert task_token_guard("heavy", weight="light")(abs).token_options.weight == "light"
    assert task_token_guard("heavy", {"weight": "light"})(abs).token_options.weight == "light"
    both = task_token_guard("heavy", {"weight": "light"}, weight="light")(abs)
    assert both.token_options.weight == "light"


def test_own_tags_are_kept_and_cannot_be_changed_from_outside():
    """Tags that are no options are the user's; what happens to the given dict later is nothing."""
    tags = {"team": "red", "weight": "heavy", 7: None}
    options = task_token_guard("op", tags)(abs).token_options
    tags["team"] = "blue"
    assert dict(options.tags) == {"team": "red", 7: None}
    assert options.weight == "heavy"
    with pytest.raises(TypeError):
        options.tags["team"] = "green"


def test_it_looks_like_the_plain_function():
    """Name, docstring, signature and annotations are the function's; __wrapped__ is itself."""
    bare = plain.__wrapped__
    assert inspect.isfunction(bare)
    assert bare(1) == (1, "two", (), False)
    assert (plain.__name__, plain.__qualname__, plain.__module__) == (
        bare.__name__,
        bare.__qualname__,
        bare.__module__,
    )
    assert plain.__doc__ == "What it does."
    assert inspect.signature(plain) == inspect.signature(bare)
    assert inspect.unwrap(plain) is bare
    assert typing.get_type_hints(plain) == typing.get_type_hints(bare)
    assert "test_decorator.plain" in repr(plain)


def test_options_gives_a_changed_copy():
    """`options()` leaves the function as it is; the copy has what was given, and else the same."""
    copied = tagged.options(weight="light", operation_type="other")
    assert (copied.operation_type, copied.token_options.weight) == ("other", "light")
    assert copied.token_options.tags == {"team": "blue"}
    assert copied.__wrapped__ is tagged.__wrapped__
    assert (tagged.operation_type, tagged.token_options.weight) == (
        "test_decorator.tagged",
        "heavy",
    )
    assert tagged.options(tags={"a": 1}).token_options.tags == {"a": 1}
    assert tagged.options(tags={"weight": "light"}).token_options.weight == "light"
    # The weight was decided at the decoration; a new name does not decide it again.
    assert tagged.options(operation_type="light").token_options.weight == "heavy"
    assert tagged.options().token_options == tagged.token_options


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"weight": "feather"}, ValueError, "'light', 'medium', 'heavy', not 'feather'"),
        ({"weight": 3}, ValueError, "'light', 'medium', 'heavy', not 3"),
        ({"colour": "red"}, TypeError, "'?colour'?"),
        ({"operation_type": ""}, ValueError, "empty"),
        ({"operation_type": 5}, TypeError, "str, not int"),
        ({"tags": [1]}, TypeError, "mapping, not list"),
        ({"tags": {"weight": "feather"}}, ValueError, "'light', 'medium', 'heavy'"),
        ({"tags": {"weight": "light"}, "weight": "heavy"}, ValueError, "give it once"),
    ],
)
def test_bad_options_are_refused_at_once(options, error, words):
    """A value that is not allowed is refused by the decorator and by `options()` alike."""
    with pytest.raises(error, match=words):
        task_token_guard(**options)(abs)
    with pytest.raises(error, match=words):
        plain.options(**options)


async def _coroutine() -> None: ...


def _generator():
    yield 1


async def _async_generator():
    yield 1


class _CallsCoroutine:
    async def __call__(self) -> None: ...


class _CallsGenerator:
    def __call__(self):
        yield 1


def _disguised(function):
    @functools.wraps(function)
    def wrapper():
        return function()

    return wrapper


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (_coroutine, "a coroutine function"),
        (_generator, "a generator function"),
        (_async_generator, "an asynchronous generator function"),
        (_CallsCoroutine(), "a coroutine function"),
        (_CallsGenerator(), "a generator function"),
        (functools.partial(_coroutine), "a coroutine function"),
        (functools.partial(_generator), "a generator function"),
        (_disguised(_coroutine), "a coroutine function"),
        (5, "int is not callable"),
        (None, "NoneType is not callable"),
        (plain, "decorated already"),
    ],
)
def test_what_cannot_be_a_token_is_refused_at_decoration(what, words):
    """Coroutine and generator functions and non-callables are a TypeError where they stand."""
    with pytest.raises(TypeError, match=words):
        task_token_guard()(what)


def test_forgotten_parentheses_are_explained():
    """`@task_token_guard` without parentheses says what to write."""
    with pytest.raises(TypeError, match=r"@task_token_guard\(\)"):

        @task_token_guard
        def forgotten() -> None: ...


# ---- pickling


def test_pickled_by_name_it_is_the_same_object():
    """A decorated function of a module pickles as its name."""
    pickled = pickle.dumps(plain)
    assert pickle.loads(pickled) is plain
    assert len(pickled) < 100
    assert pickle.loads(pickle.dumps(Account.add)) is Account.add
    assert copy.copy(plain) is plain
    assert copy.deepcopy([plain]) == [plain]


def test_pickled_copies_keep_their_options():
    """A copy with other options travels with them, and the plain function by name."""
    copied = pickle.loads(pickle.dumps(tagged.options(weight="light", operation_type="x")))
    assert isinstance(copied, TokenFunction)
    assert copied.__wrapped__ is tagged.__wrapped__
    assert copied.token_options == tagged.options(weight="light", operation_type="x").token_options


def test_nested_ones_travel_by_value():
    """What no name leads to is carried by cloudpickle, closure and options included."""
    base = 40

    @task_token_guard("nested", weight="light")
    def nested(x: int) -> int:
        return base + x

    loaded = pickle.loads(cloudpickle.dumps(nested))
    assert loaded.__wrapped__(2) == 42
    assert loaded.token_options == nested.token_options


def test_a_running_coordinator_is_not_pickled_along(coordinator):
    """A function that has been called pickles as before."""
    copied = plain.options(weight="heavy")
    assert copied(1).get(20) == plain.__wrapped__(1)
    assert pickle.loads(pickle.dumps(copied)).__wrapped__ is plain.__wrapped__


# ---- calls


def test_a_call_without_a_coordinator_says_how_to_start_one():
    """Nothing waits for a coordinator that is not there."""
    for call in (lambda: plain(1), lambda: Account(1).add(1), lambda: plain.options()(1)):
        with pytest.raises(CoordinatorNotRunning, match="OperationsCoordinator") as caught:
            call()
        assert isinstance(caught.value, RuntimeError)
    assert "'test_decorator.plain'" in str(_error_of(lambda: plain(1)))


def _error_of(call) -> Exception:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is handed over
        return error
    raise AssertionError("nothing was raised")


def test_methods_of_every_kind_are_tokens(coordinator):
    """A decorated method, static method and class method takes its call as a plain one would."""
    account = Account(40)
    assert account.add(2).get(20) == 42
    assert Account.add(account, 2).get(20) == 42
    assert Account.double(4).get(20) == account.double(4).get(20) == 8
    assert Account.interest(4).get(20) == account.interest(4).get(20) == 12
    assert account.add.__name__ == "add"


def test_every_way_to_pass_arguments(coordinator):
    """Positional, keyword, variadic and default arguments arrive as in a plain call."""
    assert plain(1).get(20) == (1, "two", (), False)
    assert plain(1, "b", 3, 4, flag=True).get(20) == (1, "b", (3, 4), True)
    assert plain(second="b", first=1).get(20) == (1, "b", (), False)
    assert isinstance(plain(1), Token)


def test_a_wrong_call_fails_as_a_token(coordinator):
    """Arguments that do not fit raise what a plain call raises, from the token."""
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        plain().get(20)
    with pytest.raises(TypeError, match="unexpected keyword argument 'third'"):
        plain(1, third=3).get(20)


def test_arguments_are_a_snapshot(coordinator):
    """What the caller does to an argument after the call changes nothing."""
    numbers, mapping = [1, 2], {"a": [1]}
    tokens = []
    for _ in range(100):
        tokens.append(work.echo((list(numbers), mapping)))
        tokens.append(work.echo(numbers))
        numbers.append(len(numbers) + 1)
        mapping["a"].append(0)
    numbers.clear()
    mapping.clear()
    for turn in range(100):
        expected = list(range(1, turn + 3))
        assert tokens[2 * turn].get(20) == (expected, {"a": [1] + [0] * turn})
        assert tokens[2 * turn + 1].get(20) == expected


class Unpicklable:
    def __reduce__(self):
        raise RuntimeError("it will not be pickled")


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((threading.Lock(),), {}, r"argument 1 \('first'\), of type lock"),
        ((1, Unpicklable()), {}, r"argument 2 \('second'\), of type Unpicklable"),
        ((1, "b", 3, [Unpicklable()]), {}, r"argument 4\[0\], of type Unpicklable"),
        ((1,), {"flag": Unpicklable()}, "argument 'flag', of type Unpicklable"),
        (((x for x in ()),), {}, r"argument 1 \('first'\), of type generator"),
    ],
)
def test_what_cannot_be_encoded_is_named_and_harms_nothing(coordinator, args, kwargs, words):
    """PayloadError names the argument, at the call; tokens before and after are right."""
    before = [work.square(n) for n in range(20)]
    with pytest.raises(PayloadError, match=words) as caught:
        plain(*args, **kwargs)
    assert "'test_decorator.plain'" in str(caught.value)
    assert isinstance(caught.value, TypeError)
    assert caught.value.__cause__ is not None
    after = [work.square(n) for n in range(20)]
    assert [token.get(20) for token in before + after] == [n * n for n in range(20)] * 2
    assert coordinator.get_stats()["tokens"]["completed"] == 40


def test_a_function_that_cannot_be_sent_is_a_payload_error(coordinator):
    """A closure over something that will not pickle is refused at its first call."""
    numbers = iter(number for number in range(3))

    @task_token_guard("locked")
    def locked() -> bool:
        return next(numbers) == 0

    for _ in range(2):
        with pytest.raises(
            PayloadError, match=r"'locked': the function cannot be sent.*locked → numbers"
        ):
            locked()
    assert work.square(3).get(20) == 9


def test_functions_as_arguments_and_results(coordinator):
    """Lambdas, closures, nested and decorated functions travel as arguments and as results."""
    base = 10
    assert coordinator.submit(work.apply, lambda x: x + base, 5).get(20) == 15
    assert coordinator.submit(lambda: lambda x: x * base).get(20)(3) == 30
    assert work.echo(work.echo).get(20) is work.echo
    assert work.echo(work.square.__wrapped__).get(20)(5) == 25


def test_a_function_is_called_under_two_coordinators_in_turn():
    """A function that one coordinator has served is known to the next one too."""
    for _ in range(2):
        with OperationsCoordinator(cores=1):
            assert work.square(7).get(20) == 49
    with pytest.raises(CoordinatorNotRunning):
        work.square(7)
