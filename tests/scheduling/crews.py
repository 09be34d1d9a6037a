"""Core processes as the tests of claims make them: threads that run, make and await tokens."""

from __future__ import annotations


class FakeThread:
    """One crew thread.

    Attributes:
        stack: The tokens that it has begun, the latest last; all but that wait.
        awaited: For each of them: the token that it waits for, or None.
        claimed: For each of them: whether the parent was told that it waits for that.
    """

    def __init__(self):
        self.stack = []
        self.awaited = []
        self.claimed = []

    @property
    def top(self):
        """The token that the thread runs, or None."""
        return self.stack[-1] if self.stack else None

    @property
    def waits(self):
        """Whether the thread waits: a token that was ended is interrupted, and waits no more."""
        if not self.stack or self.awaited[-1] is None or self.top.stage.ended:
            return False
        return not self.awaited[-1].stage.ended

    def begin(self, ticket):
        """Run a token, on top of the token that waits if there is one."""
        self.stack.append(ticket)
        self.awaited.append(None)
        self.claimed.append(False)

    def wait_for(self, ticket):
        """Let the token that runs wait for another."""
        self.awaited[-1], self.claimed[-1] = ticket, False

    def end_top(self):
        """Be done with the token that runs."""
        self.awaited.pop()
        self.claimed.pop()
        return self.stack.pop()


class FakeSeat:
    """One process, which holds what the scheduler says that it holds."""

    def __init__(self, core, threads):
        self.core = self.seat = core
        self.threads = [FakeThread() for _ in range(threads)]

    @property
    def on_top(self):
        """What each token that waits has had begun on top of it."""
        return {
            below.number: above.number
            for thread in self.threads
            for below, above in zip(thread.stack, thread.stack[1:], strict=False)
        }

    def running(self):
        """The tokens that were begun."""
        return [ticket.number for thread in self.threads for ticket in thread.stack]

    def waits(self):
        """Whether every thread waits, of those that may go on."""
        return all(thread.waits for thread in self.threads[: 1 if self.is_taken else None])

    @property
    def is_taken(self):
        """Whether an exclusive token has the process, in its first thread."""
        return any(ticket.operation.exclusive for ticket in self.threads[0].stack)

    @property
    def is_quiet(self):
        """Whether an exclusive token may begin in the first thread, as far as others are it."""
        return all(thread.waits or not thread.stack for thread in self.threads[1:])
