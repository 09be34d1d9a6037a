"""A process in which nothing is known of what another one has sent, for tests of what travels."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

from children import environment

_SERVE = """
import sys, pickle, traceback
from tokengate_mp.wire.payload.definition import resolve
exec(sys.argv[1])
sent = sys.stdin.buffer
while True:
    try:
        command, *arguments = pickle.load(sent)
    except EOFError:
        break
    try:
        answer = True, globals()["_" + command](*arguments)
    except Exception as error:
        answer = False, repr(error)
    pickle.dump(answer, sys.stdout.buffer)
    sys.stdout.buffer.flush()
"""

_COMMANDS = """
from tokengate_mp.config.manner import ORDINARY
from tokengate_mp.wire.payload import by_value
from tokengate_mp.worker.run.function import Function
made = {}
def _define(key, definition):
    made[key] = Function(definition, ORDINARY)
def _call(key, *arguments):
    function = made[key]
    return (function.call or function.load())(*arguments)
def _try_call(key):
    try:
        return _call(key)
    except NameError as error:
        return type(error).__name__, error.name
def _load(pickled):
    return repr(pickle.loads(pickled))
def _main(expression):
    import __main__
    return eval(expression, {"main": __main__, "made": made})
"""


class Elsewhere:
    """A process that loads definitions as a core process does, and calls them when told to."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-c", dedent(_SERVE), dedent(_COMMANDS)],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def _ask(self, *command):
        import pickle

        pickle.dump(command, self._process.stdin)
        self._process.stdin.flush()
        right, answer = pickle.load(self._process.stdout)
        assert right, answer
        return answer

    def define(self, key, definition):
        """Take a definition, under a key."""
        self._ask("define", key, definition)

    def call(self, key, *arguments):
        """Call the function of a definition; its result."""
        return self._ask("call", key, *arguments)

    def try_call(self, key):
        """Call the function of a definition; its result, or the name that is not bound."""
        return self._ask("try_call", key)

    def load(self, pickled):
        """Load a pickle; the text of what it is."""
        return self._ask("load", pickled)

    def main(self, expression):
        """The value of an expression of `main`, which is `__main__` there."""
        return self._ask("main", expression)

    def close(self):
        """End the process."""
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()
