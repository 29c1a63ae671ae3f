"""A tracker that talks to another program: training outlives that program.

Before a run has begun, a failure is an error, as one that shows at once is soon mended. Later on it is a
warning, and training goes on without the tracker. Since each attempt may cost a wait, the next one is made
after a pause only; what is told meanwhile is lost to the tracker.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from simulacra.core import UserError

PAUSE = 300.0
"""Seconds after a failure in which nothing is tried."""

log = logging.getLogger(__name__)


class Contact:
    """Tells things to a program that may not answer.

    Args:
        name: What messages call the program.
        kinds: Errors by which its client says that it did not take something.
    """

    def __init__(self, name: str, kinds: tuple[type[Exception], ...]) -> None:
        self.name, self.kinds = name, kinds
        self.begun = self._lost = False
        self._until = 0.0

    def tell(self, what: Callable[[], object], last: bool = False) -> None:
        """Do something that needs the program.

        Args:
            what: Is called, unless an earlier call has failed within the pause.
            last: Whether it is tried in the pause, too.

        Raises:
            UserError: If it fails before the run has begun.
        """
        if time.monotonic() < self._until and not last:
            return
        try:
            what()
        except self.kinds as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            if not self.begun:
                raise UserError(f"{self.name} did not open a run: {reason}") from error
            if not self._lost:
                log.warning(
                    "%s does not take what it is told, training goes on without it: %s",
                    self.name,
                    reason,
                )
            self._lost, self._until = True, time.monotonic() + PAUSE
        else:
            if self._lost:
                log.info("%s answers again", self.name)
            self._lost, self._until = False, 0.0
