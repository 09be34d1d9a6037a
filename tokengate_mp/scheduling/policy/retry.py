"""Running a token again after a failed run: how often, for what, and after which pause.

A token is run again at most `retries` times, after errors of the types in `retry_on`. A token whose
process died is run again under the same terms (as `WorkerLost` is an error like others), or freely
if it is declared `idempotent`; but not after it has taken `poison_limit` processes with it.

The pause before the n-th run is exponential with jitter: half of `backoff * 2**(n-1)` and up to as
much again (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: "equal
jitter"). The jitter is a Weyl sequence over token and run, so it is spread evenly, and needs no
random numbers.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from tokengate_mp.config.options import Policy
from tokengate_mp.errors import is_caught_by, link, note, summary
from tokengate_mp.scheduling.model.ticket import Ticket

LONGEST_PAUSE_NS: Final = 3_600_000_000_000
"""No pause is longer than this, ns."""

_GOLDEN: Final = 0x9E3779B97F4A7C15
_SPACE: Final = 1 << 64


def pause(base: int, run: int, number: int) -> int:
    """The pause before a token is run again, ns.

    Args:
        base: `backoff`, ns.
        run: Which further run it is, from 1.
        number: The token's number.
    """
    whole = min(base << min(run - 1, 64), LONGEST_PAUSE_NS)
    jitter = (number + run * 0x632BE59BD9B4E019) * _GOLDEN % _SPACE
    return whole // 2 + whole * jitter // (2 * _SPACE)


class Trial:
    """The failed runs of a token so far.

    Attributes:
        errors: The error of each.
        deaths: How many of them took their process with them.
        used: How many of the token's `retries` are used.
    """

    __slots__ = ("deaths", "errors", "used")

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.deaths = 0
        self.used = 0


class Retries:
    """The trials of all tokens that have failed and not ended.

    Args:
        poison_limit: After so many dead processes a token is not run again.
    """

    __slots__ = ("_poison_limit", "trials")

    def __init__(self, poison_limit: int) -> None:
        self._poison_limit = poison_limit
        self.trials: dict[int, Trial] = {}

    def pause_before_next(self, ticket: Ticket, error: BaseException, *, lost: bool) -> int | None:
        """Count a failed run, and give the pause before the next, ns; None: there is to be none.

        Args:
            ticket: The token.
            error: The error that the run ended with.
            lost: Whether the run ended with its process.
        """
        policy = ticket.operation.policy
        if policy is None:
            return None
        trial = self.trials.setdefault(ticket.number, Trial())
        trial.errors.append(error)
        trial.deaths += lost
        if trial.deaths >= self._poison_limit and lost:
            return None
        if lost and policy.idempotent:
            return 0
        return self._next(trial, policy, ticket.number, error)

    def _next(self, trial: Trial, policy: Policy, number: int, error: BaseException) -> int | None:
        if trial.used >= policy.retries or not is_caught_by(error, policy.retry_on):
            return None
        trial.used += 1
        return pause(policy.backoff_ns, trial.used, number)

    def drop_trial(self, ticket: Ticket) -> None:
        """Drop the record of a token that has ended otherwise than by failing."""
        self.trials.pop(ticket.number, None)

    def close_trial(self, ticket: Ticket) -> None:
        """Attach the earlier errors of a token that has failed for good to its last.

        Each is the `__context__` of the next, and the last has a note about each.
        """
        trial = self.trials.pop(ticket.number, None)
        if trial is None:
            return
        *earlier, last = trial.errors
        for run, error in enumerate(earlier, 1):
            note(last, f"run {run} of {len(trial.errors)} ended with {summary(error)}")
        for before, after in pairwise(trial.errors):
            link(after, "__context__", before)
