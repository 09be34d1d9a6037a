"""Endings: how tokens leave the accounts, and how they come to wait again.

A token ends once, in one of four states; or its run has failed and it gets another; or a core gives
it back unbegun. Whatever the way, it is taken off everything that counts it: its lane, its chain,
its sticky key, its dependents, its deadline's and its breaker's counts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from tokengate_mp.config.options import Weight
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.cores.ledger import Ledger
from tokengate_mp.scheduling.model.operation import Operation
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.model.weights import Cores, members
from tokengate_mp.scheduling.nested.conductor import Conductor
from tokengate_mp.scheduling.policy.breakers import Breakers
from tokengate_mp.scheduling.policy.retry import Retries
from tokengate_mp.scheduling.waiting.dependencies import Dependencies
from tokengate_mp.scheduling.waiting.gate import Gate

WAITING, ADMITTED = TokenState.WAITING, TokenState.ADMITTED
COMPLETED, FAILED = TokenState.COMPLETED, TokenState.FAILED


class Endings:
    """Ends tokens, and lets tokens wait again.

    Args:
        gate: Where tokens wait.
        ledger: Counts those that have ended.
        conductor: Chains, which count their members.
        dependencies: Tokens that wait for others to end.
        retries: Says which failed runs are followed by another.
        breakers: Count failures of operations.
    """

    __slots__ = (
        "_breakers",
        "_conductor",
        "_dependencies",
        "_evicted",
        "_gate",
        "_ledger",
        "_retries",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - everything that counts a token
        self,
        gate: Gate,
        ledger: Ledger,
        conductor: Conductor,
        dependencies: Dependencies,
        retries: Retries,
        breakers: Breakers,
    ) -> None:
        self._gate = gate
        self._ledger = ledger
        self._conductor = conductor
        self._dependencies = dependencies
        self._retries = retries
        self._breakers = breakers
        self._evicted: Cores = 0

    # ---- outcomes

    def sort_outcomes(
        self,
        tickets: Sequence[Ticket],
        durations: Sequence[int],
        failed: Mapping[int, BaseException],
        blocked: Collection[int],
        now: int,
    ) -> None:
        """Fail or retry the tokens that raised, and measure each operation.

        Args:
            tickets: Tokens whose outcomes have arrived, COMPLETED unless they had ended before.
            durations: How long each of them ran, ns.
            failed: The errors of those that raised, by number.
            blocked: The numbers of those that spent most of their time off the CPU.
            now: The time, ns.
        """
        if failed:
            raised = [t for t in tickets if t.stage is COMPLETED and t.number in failed]
            self._ledger.ended[COMPLETED] -= len(raised)
            errors = [(ticket, failed[ticket.number]) for ticket in raised]
            self.fail_tokens(
                [t for t, e in errors if not self.run_again(t, e, now, lost=False)], now
            )
        for ticket in tickets:
            if ticket.stage is COMPLETED:
                ticket.operation.completed += 1
        runs: defaultdict[Operation, list[int]] = defaultdict(list)
        for ticket, duration in zip(tickets, durations, strict=True):
            runs[ticket.operation].append(duration)
        waited = Counter(t.operation for t in tickets if t.number in blocked) if blocked else {}
        for operation, own in runs.items():
            operation.observe(own, blocking=waited.get(operation, 0) * 2 > len(own))

    def count_completed(self, tickets: Iterable[Ticket], now: int) -> None:
        """Drop the trials of the completed tokens among `tickets`, and tell their breakers."""
        completed = [ticket for ticket in tickets if ticket.stage is COMPLETED]
        for ticket in completed:
            self._retries.drop_trial(ticket)
        if self._breakers.by_name:
            self._breakers.count_completed(completed, now)

    # ---- waiting again

    def run_again(self, ticket: Ticket, error: BaseException, now: int, *, lost: bool) -> bool:
        """Let a token whose run has failed wait for another; False if there is to be none."""
        pause = self._retries.pause_before_next(ticket, error, lost=lost)
        if pause is None:
            return False
        ticket.operation.retried += 1
        if self._gate.taken:
            self._gate.expect_again([ticket])
        if pause:
            self._gate.postpone(ticket, now + pause)
        elif self._conductor.hold(ticket):
            ticket.stage = WAITING
        else:
            self._gate.interleave(ticket)
        return True

    def resume_postponed(self, now: int) -> None:
        """Let the tokens into their lanes whose pause between two runs is over at `now`, ns."""
        for ticket in self._gate.postponed.take_due(now):
            if not self._conductor.hold(ticket):
                self._gate.interleave(ticket)

    def reenter_unbegun(self, tickets: Iterable[Ticket], *, given_back: bool) -> None:
        """Let the unended tokens among `tickets`, which no thread had begun, wait again.

        Args:
            tickets: What a core held.
            given_back: Whether the core goes on; else it is lost, and chains wait for its next
                process.
        """
        free = [ticket for ticket in tickets if ticket.stage is ADMITTED]
        if self._gate.taken:
            self._gate.expect_again(free)
        conductor = self._conductor
        if conductor.members:
            returning, free = free, []
            for ticket in returning:
                if given_back and conductor.may_go_anywhere(ticket.number):
                    free.append(ticket)
                elif conductor.hold(ticket):
                    ticket.stage = WAITING
                else:
                    free.append(ticket)
        self._gate.reenter(free)

    # ---- ending

    def end_early(self, ticket: Ticket, stage: TokenState, now: int | None = None) -> None:
        """End a token before its time.

        Args:
            ticket: A token that has not ended. It may not be submitted yet: it counts from here on.
            stage: KILLED or TIMEOUT.
            now: The time, ns, if the breaker is to count a failure; else None.
        """
        if self._breakers.by_name:
            self._breakers.count_failed([ticket], now)
        before, ticket.stage = ticket.stage, stage
        if before is WAITING and not self._conductor.drop_held(ticket.number):
            self._gate.drop_ended(ticket)
        elif before is TokenState.CREATED:
            self._ledger.submitted += 1
        self._ledger.ended[stage] += 1
        self._retries.drop_trial(ticket)
        self.forget_ended([ticket])

    def fail_tokens(self, tickets: Sequence[Ticket], now: int | None = None) -> None:
        """End tokens as FAILED that are in no lane any more.

        Args:
            tickets: The tokens.
            now: The time, ns, if they have been run; else None.
        """
        if self._breakers.by_name:
            self._breakers.count_failed(tickets, now)
        for ticket in tickets:
            ticket.stage = FAILED
            ticket.operation.failed += 1
            self._retries.close_trial(ticket)
        self._ledger.ended[FAILED] += len(tickets)
        self.forget_ended(tickets)

    def fail_withheld(self, ticket: Ticket) -> None:
        """End a token as FAILED that is withheld, and cannot run."""
        self._gate.drop_ended(ticket)
        self._dependencies.forget_dependent(ticket)
        self.fail_tokens([ticket])

    def fail_blocked(self, waiting: Iterable[Ticket]) -> list[Ticket]:
        """End the tokens as FAILED whose breaker has opened, out of all that wait."""
        blocked = [*self._breakers.take_blocked(waiting)]
        for ticket in blocked:
            ticket.stage = FAILED
            if not self._conductor.drop_held(ticket.number):
                self._gate.drop_ended(ticket)
            self._dependencies.forget_dependent(ticket)
        self.fail_tokens(blocked)
        return blocked

    def fail_stranded(
        self, gone: Cores, left: Cores, reach: Mapping[Weight, Cores]
    ) -> list[Ticket]:
        """End the waiting tokens as FAILED that may run on no core that is left.

        Args:
            gone: Cores that will never be ready again.
            left: All others.
            reach: The cores that tokens of each weight class may be sent to.
        """
        if gone & ~self._evicted:
            self._evicted |= gone
            self._gate.evict_keys(gone)
        weights = [weight for weight, cores in reach.items() if not cores & left]
        stranded: list[Ticket] = []
        # With the first token of a key another becomes the first.
        while tickets := self._gate.empty_lanes(weights):
            self.fail_tokens(tickets)
            stranded += tickets
        if self._conductor.members:
            homeless = self._conductor.move_chains(gone, next(members(left), None))
            self.fail_tokens(homeless)
            stranded += homeless
        return stranded

    def core_ready_again(self, core: int) -> None:
        """Let keys be pinned to a core again that had been given up."""
        self._evicted &= ~(1 << core)

    def forget_ended(self, tickets: Collection[Ticket]) -> None:
        """Drop ended tokens from their chain, sticky key and dependency graph."""
        if self._conductor.members:
            for ticket in tickets:
                if ticket.stage.ended:
                    self._conductor.leave_chains(ticket.number)
        if self._dependencies.dependents or self._dependencies.missing:
            self._dependencies.collect_ended(tickets)
        if self._gate.sticky.members:
            for ticket in tickets:
                if ticket.stage.ended:
                    self._gate.leave_key(ticket)
        if self._gate.taken:
            self._gate.taken.forget_ended(tickets)
