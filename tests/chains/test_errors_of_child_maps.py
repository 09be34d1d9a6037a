"""Exceptions of functions that are mapped inside tokens."""

from __future__ import annotations

from tokengate_mp import OperationsCoordinator, task_token_guard


class Immutable(Exception):
    """An exception that nothing can be added to."""

    def __setattr__(self, name: str, value: object) -> None:
        raise TypeError("immutable")


@task_token_guard(operation_type="fails_immutably")
def fails_immutably(number: int) -> None:
    """Raise what nothing can be added to."""
    raise Immutable(number)


@task_token_guard(operation_type="maps_immutably")
def maps_immutably(*, return_exceptions: bool) -> tuple[str, int]:
    """Map over items that fail: what the first comes to."""
    results = fails_immutably.map([7, 8], return_exceptions=return_exceptions)
    try:
        error = next(iter(results))
    except (Immutable, TypeError) as raised:
        error = raised
    return type(error).__name__, error.args[0]


def test_an_exception_that_forbids_notes_is_still_the_users():
    """The map gives what the function raised, raised or as a result, though it cannot say where."""
    with OperationsCoordinator(cores=1):
        for return_exceptions in (False, True):
            found = maps_immutably(return_exceptions=return_exceptions).get(20)
            assert found == ("Immutable", 7)
