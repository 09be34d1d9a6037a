from __future__ import annotations

import inspect
import pickle

import pytest

from tokengate_mp import OperationsCoordinator, TokenGateExecutor, task_token_guard
from tokengate_mp.config.option_table import (
    OPTIONS,
    RESERVED_TAGS,
    changed_options,
    token_options,
)
from tokengate_mp.config.options import Policy, TokenOptions
from tokengate_mp.config.settings import (
    MAX_PENDING_BYTES,
    SETTINGS,
    CoordinatorSettings,
    coordinator_settings,
)

DEFAULTS = {
    "threads_per_core": 4,
    "routing": "work_conserving",
    "ring_bytes": 1 << 20,
    "grace": 2.0,
}


def settings_with(cores=None, usable=(0, 1, 2), **changes):
    """Settings with everything but these at its default."""
    return coordinator_settings(cores, usable, **(DEFAULTS | changes))


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("hash", "medium"),
        ("heavy_hash", "heavy"),
        ("module.LightStep", "light"),
        ("light_then_heavy", "heavy"),
    ],
)
def test_weight_from_the_name(name, weight):
    """A "light" or "heavy" in the operation_type says the weight; else it is medium."""
    assert token_options(name).weight == weight


def test_a_weight_that_is_given_beats_the_name():
    """A keyword or a tag is more than a name."""
    assert token_options("heavy_hash", weight="light").weight == "light"
    assert token_options("heavy_hash", {"weight": "light"}).weight == "light"


def test_tags():
    """Reserved tags are options, the others the user's own, and cannot be changed later."""
    own = {"weight": "heavy", "team": "blue"}
    options = token_options("work", own)
    own["team"] = "red"
    assert options.weight == "heavy"
    assert dict(options.tags) == {"team": "blue"}
    with pytest.raises(TypeError):
        options.tags["team"] = "green"


def test_tag_and_keyword_may_agree():
    """The same value given twice is no contradiction; two values are one."""
    assert token_options("work", {"weight": "heavy"}, weight="heavy").weight == "heavy"
    with pytest.raises(ValueError, match="'work': tag 'weight' says 'heavy' and keyword weight"):
        token_options("work", {"weight": "heavy"}, weight="light")


@pytest.mark.parametrize("given", [{"weight": "huge"}, {"tags": {"weight": "huge"}}])
def test_a_weight_that_is_not_allowed(given):
    """The error lists what is."""
    with pytest.raises(ValueError, match="one of 'light', 'medium', 'heavy', not 'huge'"):
        token_options("work", **given)


@pytest.mark.parametrize(
    ("name", "given", "error", "message"),
    [
        (7, {}, TypeError, "operation_type must be a str, not int"),
        ("", {}, ValueError, "must not be empty"),
        ("work", {"tags": ["heavy"]}, TypeError, "tags must be a mapping, not list"),
        ("work", {"wieght": "heavy"}, TypeError, "there is no option 'wieght'"),
        ("work", {"weight": ["heavy"]}, ValueError, "weight must be one of"),
        ("work", {"sticky_anchor": 7}, TypeError, "sticky_anchor must be a str, not int"),
        ("work", {"sticky_anchor": ""}, ValueError, "sticky_anchor must not be empty"),
        ("work", {"sticky_anchor": "a", "sticky_for": "1"}, TypeError, "sticky_for must be a num"),
        ("work", {"sticky_anchor": "a", "sticky_for": -1}, ValueError, "from 0 up, not -1"),
        ("work", {"sticky_for": 1.5}, ValueError, "without sticky_anchor there is none"),
        ("work", {"sticky_anchor": "a", "external_calls": []}, ValueError, "give one of them"),
        (
            "work",
            {"tags": {"sticky_anchor": "a", "external_calls": ["b"]}},
            ValueError,
            "give one of them",
        ),
    ],
)
def test_bad_options(name, given, error, message):
    """What cannot be meant is refused where it is written, by name."""
    with pytest.raises(error, match=message):
        token_options(name, **given)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            {"timeout": 0},
            ValueError,
            "'work': timeout must be a number of seconds, more than 0, not 0",
        ),
        ({"timeout": -1}, ValueError, "more than 0, not -1"),
        ({"timeout": float("nan")}, ValueError, "timeout must be"),
        ({"timeout": "1"}, TypeError, "timeout must be a number of seconds, not str"),
        ({"retries": -1}, ValueError, "retries must be from 0"),
        ({"retries": 1.0}, TypeError, "retries must be an int, not float"),
        (
            {"retry_on": "OSError"},
            TypeError,
            "retry_on must be an exception type or a tuple of them, not 'OSError'",
        ),
        ({"retry_on": (OSError, int)}, TypeError, "not <class 'int'>"),
        ({"backoff": -0.5}, ValueError, "backoff must be"),
        ({"backoff": True}, TypeError, "not bool"),
        ({"idempotent": 1}, TypeError, "idempotent must be a bool, not int"),
    ],
)
def test_bad_policies(given, error, message):
    """A time limit or retries that make no sense are refused where they are written down."""
    with pytest.raises(error, match=message):
        token_options("work", **given)


def test_a_policy_is_changed_option_by_option():
    """What an override does not name stays, also what has had nothing to act on until now."""
    options = token_options("work", retry_on=OSError, backoff=0.5)
    assert not options.policy.acts
    changed = changed_options(changed_options(options, {"retries": 3}), {"timeout": 2})
    assert changed.policy == Policy(2_000_000_000, 3, (OSError,), 500_000_000)
    assert changed.policy.acts
    assert changed_options(changed, {"timeout": None}).policy.timeout_ns is None
    assert pickle.loads(pickle.dumps(changed)) == changed


def test_changed_options():
    """Overrides replace what they name and leave the rest, a weight from the first name too."""
    options = token_options("heavy_work", {"team": "blue"})
    renamed = changed_options(options, {"operation_type": "other"})
    assert (renamed.operation_type, renamed.weight, dict(renamed.tags)) == (
        "other",
        "heavy",
        {"team": "blue"},
    )
    assert changed_options(options, {"weight": "light"}).weight == "light"
    assert changed_options(options, {"tags": {"weight": "light"}}).weight == "light"
    assert dict(changed_options(options, {"tags": {}}).tags) == {}
    assert options.weight == "heavy"
    with pytest.raises(TypeError, match="no option 'colour'"):
        changed_options(options, {"colour": "red"})


def test_an_anchor_is_kept_until_it_is_replaced():
    """Options of stickiness stay with a copy; without an anchor there is nothing to keep for."""
    options = token_options("work", {"sticky_anchor": "model"}, sticky_for=2)
    assert (options.sticky_anchor, options.sticky_for) == ("model", 2.0)
    copy = changed_options(options, {"weight": "light"})
    assert (copy.sticky_anchor, copy.sticky_for) == ("model", 2.0)
    other = changed_options(options, {"tags": {"sticky_anchor": "file"}})
    assert (other.sticky_anchor, other.sticky_for) == ("file", 2.0)
    loose = changed_options(options, {"sticky_anchor": None})
    assert (loose.sticky_anchor, loose.sticky_for) == (None, 0.0)


def test_options_pickle():
    """A decorated function that travels by value takes its options along."""
    options = token_options("work", {"team": "blue"}, sticky_anchor="model", sticky_for=1.5)
    assert pickle.loads(pickle.dumps(options)) == options


@pytest.mark.parametrize(
    ("cores", "cpus"),
    [
        (None, (0, 1, 2)),
        (1, (0,)),
        (2, (0, 1)),
        (5, (0, 1, 2, 0, 1)),
        ([2, 0], (2, 0)),
        ((1, 1), (1, 1)),
        (range(2), (0, 1)),
    ],
)
def test_cores(cores, cpus):
    """A count, or CPU numbers; more core domains than CPUs share them in turn."""
    assert settings_with(cores).cpus == cpus


@pytest.mark.parametrize(
    ("cores", "error", "message"),
    [
        (0, ValueError, "cores must be from 1 to 4096, not 0"),
        (-1, ValueError, "cores must be from 1"),
        (True, TypeError, "cores must be an int, not bool"),
        (1.5, TypeError, "a count or a list of CPU numbers, not float"),
        ("2", TypeError, "not str"),
        ([], ValueError, "cores is an empty list"),
        ([0, 7], ValueError, "names CPU 7, which this process may not use; it may use 0, 1, 2"),
        ([0, False], TypeError, "cores must list CPU numbers, not bool"),
    ],
)
def test_bad_cores(cores, error, message):
    """What no machine or not this one has is refused, and the error says what there is."""
    with pytest.raises(error, match=message):
        settings_with(cores)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"threads_per_core": 0}, ValueError, "threads_per_core must be from 1 to 256, not 0"),
        ({"threads_per_core": 2.0}, TypeError, "threads_per_core must be an int, not float"),
        ({"routing": "random"}, ValueError, "one of 'strict', 'work_conserving', not 'random'"),
        ({"ring_bytes": 1 << 11}, ValueError, "ring_bytes must be from 4096"),
        ({"ring_bytes": 5000}, ValueError, "a power of two, not 5000"),
        ({"grace": -1}, ValueError, "grace must be a number of seconds from 0 up, not -1"),
        ({"grace": float("nan")}, ValueError, "grace must be"),
        ({"grace": "2"}, TypeError, "grace must be a number of seconds, not str"),
    ],
)
def test_bad_settings(changes, error, message):
    """Each setting is checked before anything is started."""
    with pytest.raises(error, match=message):
        settings_with(**changes)


# ---- the tables


def defaults(function):
    """Give the parameters of a function with their defaults."""
    parameters = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in parameters if each.name != "self"}


def test_the_decorator_takes_the_options_of_the_table():
    """Each with the same default; beside them there are the name and the tags."""
    signature = defaults(task_token_guard)
    assert signature.pop("operation_type") is None
    assert signature.pop("tags") is None
    assert signature == {name: option.default for name, option in OPTIONS.items()}
    assert set(RESERVED_TAGS) == {"weight", "sticky_anchor", "external_calls", "digest_policy"}


def test_each_option_has_a_field():
    """The fields of what is made of them are those of the table, and no others."""
    fields = {"options": {"operation_type", "tags", "policy"}, "policy": {"lead", "of"}}
    for option in OPTIONS.values():
        fields.setdefault(option.part, set()).add(option.field)
    assert fields["options"] == set(TokenOptions.__struct_fields__)
    assert fields["policy"] == set(Policy.__struct_fields__)
    assert fields["lead"] == {"external_calls", "digest_policy"}


def test_options_that_are_given_as_by_default_change_nothing():
    """A table of defaults is what there is without it."""
    given = {name: option.default for name, option in OPTIONS.items()}
    assert token_options("work", **given) == token_options("work")
    assert changed_options(token_options("work"), given) == token_options("work")


def test_the_coordinator_takes_the_settings_of_the_table():
    """Each with the same default, but for one that it finds out by itself; `exact` is no option."""
    signature = defaults(OperationsCoordinator)
    for name in ("cores", "initializer", "initargs"):
        del signature[name]
    table = {name: setting.default for name, setting in SETTINGS.items()}
    assert table.pop("exact") is False
    assert table.pop("max_pending_bytes") == MAX_PENDING_BYTES
    assert signature.pop("max_pending_bytes") is None
    assert signature == table


def test_the_executor_takes_some_settings_of_the_table():
    """Each with the same default, but for the threads: calls of executors compute as a rule."""
    signature = defaults(TokenGateExecutor)
    assert signature.pop("threads_per_core") == 1
    common = signature.keys() & SETTINGS.keys()
    assert common == {
        *("ring_bytes", "grace", "output", "label"),
        *("memory_limit", "pin", "writable"),
    }
    assert all(signature[name] == SETTINGS[name].default for name in common)


def test_each_setting_has_a_field():
    """The settings are those of the table, the cores, and what is made for each start."""
    fields = set(CoordinatorSettings.__struct_fields__)
    assert fields == {*SETTINGS, "cpus", "initializer", "inherited"}
    with pytest.raises(TypeError, match="there is no setting 'colour'"):
        settings_with(colour="red")
