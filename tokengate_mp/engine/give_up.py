"""What tokens are told for which no core is left, or no coordinator that could go on."""

from __future__ import annotations

from collections.abc import Mapping

from tokengate_mp.errors import CoreStartError, TokenGateError, summary
from tokengate_mp.wire.protocol.delivery import raised
from tokengate_mp.worker_lost import InitializerFailed


def why_stranded(refusal: bytes, reasons: Mapping[int, str]) -> CoreStartError:
    """The error of a token that may run on given up cores only.

    Args:
        refusal: What the initializer raised, as an encoded failure; empty if it has not.
        reasons: Why each core was given up, in the order in which that happened.
    """
    if refusal:
        cause = raised(refusal)
        error = InitializerFailed(
            f"the initializer raised {summary(cause)}, so no core process can run this token"
        )
        error.__cause__ = cause
        return error
    core = list(reasons)[-1]
    return CoreStartError(
        "no core process can be started for this token. The last core that was given up is core "
        f"{core}: {reasons[core]}"
    )


def why_broken(error: Exception) -> TokenGateError:
    """The error of a token whose coordinator broke down."""
    ending = TokenGateError(
        "the coordinator cannot go on after an error of its own; please report it with this "
        "traceback"
    )
    ending.__cause__ = error
    return ending
