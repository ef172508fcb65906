"""What becomes of a work item whose job failed: it waits, it is parked, or it stops - decided here and nowhere else."""

from __future__ import annotations

import random

import procrastinate
import structlog
from procrastinate.jobs import Job
from procrastinate.retry import BaseRetryStrategy, RetryDecision

from satchel.errors import Broken, ConfigError, RetryLater, SatchelError, StartOver

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 300.0
log = structlog.get_logger()


class Waiting(BaseRetryStrategy):
    """Work that can succeed later is tried again, at growing distances and without end."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """When to try again; None: never, the item is done."""
        if not can_succeed_later(exception):
            return None
        return RetryDecision(retry_in={"seconds": int(wait_seconds(exception, job.attempts)) or 1})


def can_succeed_later(error: BaseException) -> bool:
    """Unknown errors too: a fault that passes must not end an organization's provisioning."""
    return not isinstance(error, ConfigError | Broken | procrastinate.exceptions.JobAborted)


def wait_seconds(error: BaseException, attempts: int) -> float:
    """As long as the other side asked for, else doubling with jitter."""
    asked = error.wait_seconds if isinstance(error, RetryLater) else 0.0
    doubled = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** min(attempts, 12))
    return max(asked, doubled * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret


def describe(error: BaseException) -> str:
    """One line for a person, without row content or secrets."""
    if isinstance(error, SatchelError):
        hint = f" {error.hint}" if error.hint else ""
        return f"{error.message}{hint} [{error.code}]"
    return f"{type(error).__name__} (see the log)"


def is_overtaken(error: BaseException) -> bool:
    """Another worker does the same: nothing is lost, nothing to do."""
    return isinstance(error, StartOver)
