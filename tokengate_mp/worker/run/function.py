"""A function as a core process knows it.

A function arrives once, as a definition, and is called for many tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tokengate_mp.config.manner import Manner
from tokengate_mp.errors import link, traceback_of
from tokengate_mp.wire.payload.definition import resolve
from tokengate_mp.wire.payload.namespaces.arrivals import Arrivals, loaded
from tokengate_mp.worker.run.starvation import CloserLook

_UNMEASURED: Final = 1 << 62


class Function:
    """A function that tokens call.

    Attributes:
        definition: The definition it arrived as.
        call: The plain function; None before it is loaded, and when global variables have been
            bound since that the function may have come with.
        last: How long its latest run took, ns; very long before the first.
        blocks: Whether its long runs spend most of their time waiting for something.
        in_doubt: Whether the latest used little CPU time, so that the next is looked at closely.
        manner: How its tokens are run.
        lead: What makes its tokens leads; None if they are none.
        exclusive: Whether a token of it has the process to itself.
    """

    __slots__ = (
        "__weakref__",
        "_arrivals",
        "_loaded",
        "blocks",
        "call",
        "definition",
        "exclusive",
        "in_doubt",
        "last",
        "lead",
        "manner",
    )

    def __init__(
        self, definition: bytes, manner: Manner, call: Callable[..., Any] | None = None
    ) -> None:
        self.manner = manner
        self.lead = manner.lead
        self.exclusive = manner.exclusive
        self.definition = definition
        self.call = call
        self._loaded: Callable[..., Any] | None = call
        self._arrivals: Arrivals | None = None
        self.last = _UNMEASURED
        self.blocks = False
        self.in_doubt = False

    def is_blocking(self, at_work: int, cpu: int, closer: CloserLook | None) -> bool:
        """Judge a long run; return whether the function blocks, as far as is known now.

        Args:
            at_work: How long it took, ns, without its waits for tokens.
            cpu: How much CPU time its thread used, ns.
            closer: The closer look at the run; None if there was none.
        """
        self.in_doubt = cpu * 2 < at_work
        if not self.in_doubt:
            self.blocks = False
        elif closer is not None and (blocked := closer.blocked(at_work)) is not None:
            self.blocks = blocked
        return self.blocks

    def load(self) -> Callable[..., Any]:
        """Load and return `call`; where loading raises, each call raises the same.

        The global variables that came with the function are bound as they came, if they are not.

        A function is loaded by the first token that needs it, and not before: importing its module
        may take long, or end the process, and either is then known to be that token's doing.
        """
        call = self._loaded
        if call is None:
            call = self._loaded = self._resolve()
        if self._arrivals is not None:
            self._arrivals.bind_for(self)
        self.call = call
        return call

    def _resolve(self) -> Callable[..., Any]:
        try:
            call, self._arrivals = loaded(lambda: resolve(self.definition))
        except BaseException as error:  # noqa: BLE001 - importing runs user code
            return _Unloadable(error)
        return call

    def outdate(self) -> None:
        """Take note that global variables were bound: `load` is to look before the next call."""
        self.call = None


class _Unloadable:
    """A stand-in for a function that could not be loaded.

    Args:
        error: What loading raised.
    """

    def __init__(self, error: BaseException) -> None:
        self._error = error
        self._traceback = traceback_of(error)

    def __call__(self, /, *_args: object, **_kwargs: object) -> None:
        # As it was: each raise would add its own frames, and keep what they refer to.
        link(self._error, "__traceback__", self._traceback)
        raise self._error
