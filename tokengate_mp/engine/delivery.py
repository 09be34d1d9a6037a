"""Delivery: tokens that were settled give their results and errors to whoever awaits them.

The third station of the way back. A recipient, or an error object of the user's, may raise
anything: that ends its token, with an error that says so, and no other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from tokengate_mp.engine.admission import COUNTED_BYTES, Admission
from tokengate_mp.errors import RemoteError, describe
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.tokens.deferred import deliver_encoded
from tokengate_mp.tokens.token import Token
from tokengate_mp.wire.protocol.records import PICKLED, Outcome

_log = logging.getLogger(__name__)

_WAITING, _COMPLETED, _FAILED = TokenState.WAITING, TokenState.COMPLETED, TokenState.FAILED


class Delivery(NamedTuple):
    """How the delivery of a portion went.

    Attributes:
        again: Whether tokens are among them that wait for another run.
        interrupt: A Ctrl-C that came meanwhile; the others were delivered all the same.
    """

    again: bool
    interrupt: KeyboardInterrupt | None


def deliver_outcomes(
    tokens: Sequence[Token[Any]],
    outcomes: Sequence[Outcome],
    encoded: Collection[int],
    admission: Admission,
) -> Delivery:
    """Deliver outcomes to tokens that were settled, in order.

    Args:
        tokens: The tokens: COMPLETED or FAILED, WAITING for another run, or ended before.
        outcomes: The outcome of each, loaded.
        encoded: Numbers of those whose value stays a pickle.
        admission: Has room again for each token that ends.
    """
    again, interrupt = False, None
    for token, outcome in zip(tokens, outcomes, strict=True):
        stage = token.stage
        if stage is _WAITING:
            again = True
            continue
        token.started = outcome.started
        token.finished = outcome.finished
        # The arguments may be large, and the token may be kept for its result.
        if len(token.record) > COUNTED_BYTES:
            admission.release(token)
        else:
            token.record = b""
        token.version = None
        try:
            if stage is _COMPLETED:
                if encoded and outcome.kind == PICKLED and token.number in encoded:
                    deliver_encoded(token, outcome.value)
                else:
                    token.deliver(outcome.value)
            elif stage is _FAILED:
                token.deliver_error(outcome.value)
        except asyncio.InvalidStateError:
            pass  # whoever holds a future can set its result
        except KeyboardInterrupt as ctrl_c:
            interrupt = ctrl_c
            _deliver_substitute(token, ctrl_c)
        except BaseException as broken:  # noqa: BLE001 - a user's object may raise anything
            _deliver_substitute(token, broken)
    return Delivery(again, interrupt)


def deliver_error(token: Token[Any], error: BaseException) -> None:
    """Deliver an error to a token that was ended otherwise than by an outcome.

    Raises:
        RuntimeError: The loop in which the token would end is closed.
        KeyboardInterrupt: Ctrl-C came meanwhile.
    """
    try:
        token.deliver_error(error)
    except (KeyboardInterrupt, RuntimeError):
        raise
    except BaseException as broken:  # noqa: BLE001 - a user's object may raise anything
        _deliver_substitute(token, broken)


def _deliver_substitute(token: Token[Any], broken: BaseException) -> None:
    """End a token whose own result or error could not be delivered."""
    name, text = describe(broken)
    try:
        token.deliver_error(
            RemoteError(name, f"{text} (raised while the outcome of the token was delivered)")
        )
    except BaseException:  # noqa: BLE001 - as above
        # Its recipient raises at anything. Nobody is left who could be told otherwise.
        _log.exception("%s cannot be told of its end", token.token_id)
