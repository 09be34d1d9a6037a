"""Modules that a program says others cannot import: `cloudpickle.register_pickle_by_value`."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

import cloudpickle
import pytest

from tokengate_mp import OperationsCoordinator, TokenGateExecutor, task_token_guard

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

SOURCE = """
RATE = 5

class Option:
    def __init__(self, value):
        self.value = value

def scaled(number):
    return number * RATE

def taken(option):
    return type(option)(option.value + 1)
"""


def load(folder: Path, name: str) -> ModuleType:
    """Load a module by its path, as applications load plugins."""
    path = folder / f"{name}.py"
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def plugins(tmp_path):
    """A plugin, and a module within a package, that no core process can import."""
    names = ["plugin_of_a_test", "packaged_of_a_test", "packaged_of_a_test.inner"]
    modules = [load(tmp_path, name) for name in names]
    yield modules
    for name in names:
        del sys.modules[name]
    for registered in cloudpickle.list_registry_pickle_by_value() & set(names):
        cloudpickle.unregister_pickle_by_value(sys.modules.get(registered) or _named(registered))


def _named(name: str) -> ModuleType:
    return sys.modules.setdefault(name, type(sys)(name))


def test_functions_and_classes_of_a_registered_module_travel_by_value(plugins):
    """By every way, as function and as argument; also of a module in a registered package."""
    plugin, package, inner = plugins
    with TokenGateExecutor(1) as executor, OperationsCoordinator(cores=1) as coordinator:
        assert executor.submit(plugin.scaled, 1).exception() is not None  # nobody said so yet
        cloudpickle.register_pickle_by_value(plugin)
        cloudpickle.register_pickle_by_value(package)
        for module in (plugin, inner):
            taken = executor.submit(module.taken, module.Option(1)).result()
            assert type(taken) is module.Option
            assert taken.value == 2
            assert list(executor.map(module.scaled, [1, 2])) == [5, 10]
            assert coordinator.submit(module.scaled, 2).get() == 10
            assert task_token_guard()(module.scaled)(3).get() == 15
            applied = executor.submit(map, module.scaled, [1])
            assert list(applied.result()) == [5]
