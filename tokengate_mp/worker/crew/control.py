"""What the control thread does to a crew."""

from __future__ import annotations

import time

from tokengate_mp.worker.crew.crew import Crew
from tokengate_mp.worker.run.cutting import cut_all


class CrewControl:
    """Acts on the tokens of a crew; for the control thread alone.

    Args:
        crew: The crew.
    """

    def __init__(self, crew: Crew) -> None:
        self._crew = crew

    def is_idle(self, seconds: float) -> bool:
        """Whether no thread runs a token, now or within so many seconds."""
        running = self._crew.mailbox.running_tokens
        deadline = time.monotonic() + seconds
        while running():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
        return True

    def interrupt_all(self) -> None:
        """Interrupt every token that runs."""
        for number in self._crew.mailbox.running_tokens():
            self.end_token(number)

    def stop_crew(self) -> None:
        """Begin no further token; threads that wait for mail return from `Crew.serve`."""
        self._crew.inbox.stop_reading()

    def end_token(self, number: int) -> None:
        """Interrupt a token, now or at its beginning; also a token that waits for another."""
        self._crew.interrupts.end_token(number)
        if self._crew.backlog.awaited:
            self._crew.backlog.wake_waiting()

    def give_back(self) -> None:
        """Return to the parent every token, and every item of a batch, that no thread has begun."""
        crew = self._crew
        crew.inbox.take_waiting_mail()
        crew.backlog.recalls += 1
        crew.give_back()
        crew.reporter.report_cuts(cut_all())
