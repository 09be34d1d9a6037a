"""Values that this process may never have to load.

The value of a token that other tokens depend on goes on to them in the bytes that it came in.
Whether anybody wants it here as well shows when somebody looks at the token: until then the token
keeps the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

from tokengate_mp.errors import PayloadError
from tokengate_mp.loops.cross_thread import in_loop
from tokengate_mp.tokens.token import Token
from tokengate_mp.tokens.visiting import VisitingToken
from tokengate_mp.wire.payload.placeholders import FILLABLE, Encoded
from tokengate_mp.wire.protocol import delivery

R = TypeVar("R")


class DeferredToken(Token[R]):
    """A token whose value is here, and not loaded before somebody looks at the token.

    Every method by which a future is looked at comes by `_loaded`, which loads the value and makes
    an ordinary token of this; and then calls itself anew, which by then is the future's own.
    """

    __slots__ = ()

    def _loaded(self) -> Token[R]:
        in_loop(self.get_loop(), self._load)
        return self

    def _load(self) -> None:
        if type(self) is not DeferredToken:
            return  # another thread was faster
        pickled, self.record = self.record, b""
        assert isinstance(pickled, bytes)
        token: Token[R] = self
        token.__class__ = Token
        try:
            value = delivery.result(pickled)
        except PayloadError as error:
            token.deliver_error(error)
        except BaseException:  # Ctrl-C: whoever looks next has it loaded anew
            token.record = pickled
            token.__class__ = DeferredToken
            raise
        else:
            token.set_result(value)

    def arrived_value(self) -> object:
        """The value, in the bytes that it came in."""
        pickled = self.record
        return (
            Encoded(pickled) if isinstance(pickled, bytes) and pickled else super().arrived_value()
        )

    def done(self) -> bool:
        """Whether the token has ended: True."""
        return self._loaded().done()

    def cancelled(self) -> bool:
        """Whether the token was cancelled: False, unless somebody does so first."""
        return self._loaded().cancelled()

    def result(self) -> R:
        """The result."""
        return self._loaded().result()

    def exception(self) -> BaseException | None:
        """The error of loading the value; None if there was none."""
        return self._loaded().exception()

    def ending_error(self) -> BaseException | None:
        """The error of loading the value, which then counts as looked at."""
        return self._loaded().ending_error()

    def cancel(self, msg: Any | None = None) -> bool:
        """Return False: the token has ended."""
        return self._loaded().cancel(msg)

    def add_done_callback(self, *args: Any, **kwargs: Any) -> None:
        """Call something soon, as the token has ended."""
        self._loaded().add_done_callback(*args, **kwargs)

    def remove_done_callback(self, fn: Callable[[Any], object], /) -> int:
        """Withdraw a callback."""
        return self._loaded().remove_done_callback(fn)

    def set_result(self, result: R, /) -> None:
        """Refuse a result: the token has ended."""
        self._loaded().set_result(result)

    def set_exception(self, exception: Any, /) -> None:
        """Refuse an exception: the token has ended."""
        self._loaded().set_exception(exception)

    def __await__(self) -> Generator[Any, None, R]:
        return self._loaded().__await__()

    def __iter__(self) -> Generator[Any, None, R]:
        return self._loaded().__await__()


FILLABLE.update({Token, VisitingToken, DeferredToken})


def deliver_encoded(token: Token[Any], pickled: bytes) -> None:
    """Deliver the pickled result of a token that other tokens depend on.

    Args:
        token: The token, COMPLETED.
        pickled: The result.
    """
    if type(token) is Token:
        if token.done():
            return  # whoever holds a future can set its result
        token.record = pickled
        awaited = bool(token._callbacks)  # noqa: SLF001 - a future's
        token.__class__ = DeferredToken
        if awaited:
            token.done()
        return
    if isinstance(token, VisitingToken):
        token.encoded = Encoded(pickled)
    try:
        value = delivery.result(pickled)
    except PayloadError as error:
        token.deliver_error(error)
    else:
        token.deliver(value)
