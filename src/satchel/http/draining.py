"""A server that is asked to end: load balancers are told first, what is under way is finished, then it ends."""

from __future__ import annotations


class Draining:
    """Whether this process is about to end."""

    def __init__(self) -> None:
        """It is not."""
        self.has_begun = False

    def begin(self) -> None:
        """From now on readiness says no."""
        self.has_begun = True
