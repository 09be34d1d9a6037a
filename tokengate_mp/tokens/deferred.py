"""Values that this process may never have to load.

The value of a token that others need goes on to them as it came. Whether anybody wants it here as
well shows when it is looked at: until then the token keeps the bytes.
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
    """A token whose value is here, and not loaded: with the first look it is an ordinary one again.

    Every method by which a future is looked at comes by `_loaded`, and then calls itself anew,
    which by then is the future's own.
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

    def arrived(self) -> object:
        """Its value, as it came."""
        pickled = self.record
        return Encoded(pickled) if isinstance(pickled, bytes) and pickled else super().arrived()

    def done(self) -> bool:
        """Whether it has ended: so it has."""
        return self._loaded().done()

    def cancelled(self) -> bool:
        """Whether it was cancelled: it was not."""
        return self._loaded().cancelled()

    def result(self) -> R:
        """Its result."""
        return self._loaded().result()

    def exception(self) -> BaseException | None:
        """What kept its value from being loaded, if anything did."""
        return self._loaded().exception()

    def ending(self) -> BaseException | None:
        """The same, without anybody having asked."""
        return self._loaded().ending()

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel it: it is too late for that."""
        return self._loaded().cancel(msg)

    def add_done_callback(self, *args: Any, **kwargs: Any) -> None:
        """Call something soon, as it has ended."""
        self._loaded().add_done_callback(*args, **kwargs)

    def remove_done_callback(self, fn: Callable[[Any], object], /) -> int:
        """Take back what is to be called."""
        return self._loaded().remove_done_callback(fn)

    def set_result(self, result: R, /) -> None:
        """Refuse a result: it has one."""
        self._loaded().set_result(result)

    def set_exception(self, exception: Any, /) -> None:
        """Refuse an exception: it has a result."""
        self._loaded().set_exception(exception)

    def __await__(self) -> Generator[Any, None, R]:
        return self._loaded().__await__()

    def __iter__(self) -> Generator[Any, None, R]:
        return self._loaded().__await__()


FILLABLE.update({Token, VisitingToken, DeferredToken})


def deliver_encoded(token: Token[Any], pickled: bytes) -> None:
    """The function of a token that others need returned.

    Args:
        token: The token, COMPLETED.
        pickled: What it returned.
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
