"""A sync: from what the device has to where the organization stands, in as many answers as it takes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import apsw
import httpx
import msgspec

from satchel.device.ahead import reading_ahead
from satchel.device.apply import RESET, Applied, Applier
from satchel.device.edits.overlay import mark_images_stale
from satchel.device.endpoint import Endpoint, interrupt
from satchel.device.lease import SYSTEM_CLOCK, Clock, renew_lease
from satchel.device.store import Store
from satchel.errors import RetryLater, SatchelError, ServerUnreachable
from satchel.protocol.lease import LEASE_HEADER, parse_lease
from satchel.protocol.messages import SyncRequest
from satchel.protocol.reader import read_lines

TRIES = 4
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
MAX_ANSWERS = 10_000
"""Of one sync: a bound for what should not happen, answers that end early again and again."""
MAX_IDLE_ANSWERS = 100
"""So many of them in a row may bring nothing: frames without a row that may be sent, profiles that are published."""
LINES_AHEAD = 6
"""Lines, or images of about a megabyte, that wait decoded while others are written."""


class SyncProgress(msgspec.Struct, frozen=True):
    """Where a sync stands; handed over after each line that put or removed rows."""

    entity: str
    rows: int
    """Rows of this entity put so far in this sync."""
    bytes_received: int


class SyncReport(msgspec.Struct, kw_only=True):
    """What a sync came to."""

    rows_put: int = 0
    rows_removed: int = 0
    rows_by_entity: dict[str, int] = {}
    edits_sent: int = 0
    """Edit sets that the server took."""
    edits_settled: dict[str, int] = {}
    """Edit sets that came home, by verdict."""
    upload_problem: str | None = None
    """Why edits could not be handed over; they wait, and what is new came all the same."""
    bytes_received: int = 0
    duration_seconds: float = 0.0
    checkpoint: int | None = None
    was_current: bool = False
    """There was nothing new."""
    was_reset: bool = False
    answers: int = 0


Progress = Callable[[SyncProgress], None]
OnEnd = Callable[[SyncReport], bool]
"""Takes a report; True where that was enough."""


class Download:
    """One sync of one device."""

    def __init__(
        self,
        store: Store,
        endpoint: Endpoint,
        on_progress: Progress | None = None,
        *,
        on_end: OnEnd | None = None,
        pause: Callable[[float], object] = time.sleep,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`on_progress` is told how far it is; `pause` waits between tries. `on_end` gets a report of its own whenever
        the copy is complete; while a wait lasts, that may be several times."""
        self._on_end = on_end
        self._pause = pause
        self._clock = clock
        self._store = store
        self._endpoint = endpoint
        self._began = 0.0
        self._on_progress = on_progress
        self._report = SyncReport()

    def run(self, *, wait_seconds: float = 0.0) -> SyncReport:
        """Sync to the end; what arrived stays, also where it breaks off. Again: the report goes on.

        Errors: ServerUnreachable, Denied, Refused.
        """
        self._began = time.monotonic()
        try:
            self._repeat(wait_seconds)
        except SatchelError as error:
            with contextlib.suppress(apsw.Error):  # a full disk may be what went wrong
                request = f" (request {error.facts['request']})" if "request" in error.facts else ""
                self._store.set("last_error", f"{error.message} [{error.code}]{request}")
            raise
        self._complete()
        return self._report

    def _complete(self) -> None:
        """The copy is as of its checkpoint."""
        now = time.monotonic()
        self._report.duration_seconds += now - self._began
        self._began = now
        checkpoint = self._store.get("checkpoint")
        self._report.checkpoint = int(checkpoint) if checkpoint else None
        with self._store.transaction():
            self._store.set("last_sync", datetime.now(UTC).isoformat(timespec="seconds"))
            self._store.set("last_error", None)

    def _repeat(self, wait_seconds: float) -> None:
        """A broken answer is resumed at the last cursor; as long as cursors come, there is no limit to that."""
        failures = idle = 0
        for _ in range(MAX_ANSWERS):
            before, brought = self._store.get("cursor"), self._brought()
            try:
                if self._one_answer(wait_seconds):
                    return
                if self._store.get("cursor") == before:
                    raise ServerUnreachable("The server's answer ended before anything of it counted.")
                failures = 0
            except RetryLater as error:
                failures = 0 if self._store.get("cursor") != before else failures + 1
                if failures >= TRIES:
                    raise
                wished_seconds = max(error.wait_seconds, FIRST_PAUSE_SECONDS * 2.0**failures)
                self._pause(min(LONGEST_PAUSE_SECONDS, wished_seconds))
            idle = 0 if self._brought() != brought else idle + 1
            if idle == MAX_IDLE_ANSWERS:
                break
        raise ServerUnreachable(
            "The server's answers bring nothing new and do not come to an end.",
            hint="What arrived stays. Sync again later; if that does not help, tell your administrator.",
        )

    def _brought(self) -> tuple[int, int, int, str | None]:
        """What differs where an answer brought something. A cursor says nothing of it: each is sealed anew."""
        report = self._report
        settled = sum(report.edits_settled.values())
        model = self._store.model.digest if self._store.has_model else None
        return report.rows_put, report.rows_removed, settled, model

    def _one_answer(self, wait_seconds: float) -> bool:
        """Ask and apply; True at the end. An answer may end early where the model changed: the next goes on."""
        request = SyncRequest(self._store.get("cursor"), self._store.model.digest if self._store.has_model else None)
        self._report.answers += 1
        asked = self._endpoint.sync(request, wait_seconds, is_following=bool(wait_seconds) and self._on_end is not None)
        with asked as answer, Applier(self._store, self._clock) as applier:
            if answer.status_code == httpx.codes.NO_CONTENT:
                with self._store.transaction():
                    renew_lease(self._store, parse_lease(answer.headers.get(LEASE_HEADER)), self._clock.now())
                self._report.was_current = self._report.answers == 1
                return True
            self._report.was_current = False
            try:
                return self._read(answer, applier)
            finally:
                self._add(applier.counted())

    def _read(self, answer: httpx.Response, applier: Applier) -> bool:
        """Read to its end; True where the copy is complete then."""
        base = dict(self._report.rows_by_entity)
        arriving = read_lines(self._chunks(answer), answer.headers.get("content-encoding", ""))
        with reading_ahead(arriving, depth=LINES_AHEAD, interrupt=lambda: interrupt(answer)) as lines:
            is_complete = False
            for line in lines:
                is_complete = applier.take(line)
                if is_complete and self._is_enough(applier):
                    return True
                name = line.put or line.image
                if self._on_progress is not None and name is not None:
                    base[name] = base.get(name, 0) + len(line.rows or ()) + line.count
                    self._on_progress(SyncProgress(name, base[name], self._report.bytes_received))
        return is_complete

    def _is_enough(self, applier: Applier) -> bool:
        """The copy is complete: whoever follows gets a report, and what comes next is another's."""
        if self._on_end is None:
            return True
        self._add(applier.counted())
        self._complete()
        done, self._report = self._report, SyncReport(answers=self._report.answers)
        return self._on_end(done)

    def _chunks(self, answer: httpx.Response) -> Iterator[bytes]:
        for chunk in answer.iter_raw():
            self._report.bytes_received += len(chunk)
            yield chunk

    def _add(self, applied: Applied) -> None:
        report = self._report
        for entity, rows in applied.rows_by_entity.items():
            report.rows_by_entity[entity] = report.rows_by_entity.get(entity, 0) + rows
            report.rows_put += rows
        for verdict, count in applied.verdicts.items():
            report.edits_settled[str(verdict)] = report.edits_settled.get(verdict, 0) + count
        report.rows_removed += applied.rows_removed
        report.was_reset = report.was_reset or applied.was_reset


def forget_position(store: Store) -> None:
    """Begin from the start: everything comes again, what does not come is dropped at the end."""
    with store.transaction() as connection:
        store.set("cursor", None)
        store.set(RESET, "1")
        mark_images_stale(connection)
        connection.execute("delete from _satchel_seen")
