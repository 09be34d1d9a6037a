"""Functions that tokens call, as this process makes them known to the parent."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any

from tokengate_mp.wire.payload.codec import to_pickle
from tokengate_mp.wire.payload.definition import defined, innermost
from tokengate_mp.wire.protocol.records import ENROL, NESTED_BITS, Enrolment, encode
from tokengate_mp.worker.crew.crew import Crew
from tokengate_mp.worker.run.function import Function
from tokengate_mp.worker.run.functions import Enrolled

if TYPE_CHECKING:
    from tokengate_mp.config.options import TokenOptions


class Enrolments:
    """The functions that the process has made known to the parent.

    Args:
        crew: The crew of this process.
        process: The number of this process.
    """

    def __init__(self, crew: Crew, process: int) -> None:
        self._here = crew.here
        self._functions = crew.functions
        self._reporter = crew.reporter
        self._indices = count(process << NESTED_BITS)
        self._enrolments: dict[tuple[int, str, str, bytes], int] = {}
        self._lock = Lock()

    def enrol_function(self, function: Callable[..., Any], options: TokenOptions) -> Enrolled:
        """Make a function known to the parent.

        Raises:
            PayloadError: The function cannot be sent.
        """
        with self._here.shield(), self._lock:
            return self._enrol(function, options)

    def _enrol(self, function: Callable[..., Any], options: TokenOptions) -> Enrolled:
        functions = self._functions
        manner = options.policy.manner
        try:
            definition, key, unchanged, _ = defined(function, manner)
        except Exception as error:
            from tokengate_mp.wire.payload.diagnosis.path import (  # noqa: PLC0415 - for errors alone
                refused_function,
            )

            name = options.operation_type
            raise refused_function(name, innermost(function), error, to_pickle) from error
        index = None if key is None else functions.enrolled_index(key, manner)
        if index is None:
            index = next(self._indices)
            functions.add_function(index, Function(definition, manner, function), key)
        policy = to_pickle(options.policy)
        name, weight = options.operation_type, options.weight
        fresh = len(self._enrolments)
        enrolment = self._enrolments.setdefault((index, name, weight, policy), fresh)
        if enrolment == fresh:
            # With the definition: the parent may have dropped it while that was on its way here.
            enrolled = Enrolment(index, functions[index].definition, name, weight, policy)
            self._reporter.say(enrolment, encode((enrolment, ENROL, 0, 0, encode(enrolled))))
        retried = options.policy.retries > 0
        resendable = retried or options.policy.idempotent
        return Enrolled(enrolment, index, name, retried, resendable, manner.lead, unchanged)
