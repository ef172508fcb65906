"""The device as a program uses it: enroll once, then sync when there is a network and read whenever."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import apsw

from satchel.device import endpoint as endpoints
from satchel.device.download import Download, OnEnd, Progress, SyncReport, forget_position
from satchel.device.edits import outbox
from satchel.device.edits.editing import Changes, RowId
from satchel.device.edits.outbox import PendingSet
from satchel.device.edits.overlay import Overlay
from satchel.device.edits.sender import sending
from satchel.device.edits.upload import UploadProgress, upload
from satchel.device.edits.verdicts import Choice, discard, resolve, retry
from satchel.device.endpoint import Endpoint
from satchel.device.enrolling import enroll_in
from satchel.device.folder import DeviceFolder
from satchel.device.key import DeviceKey, find_key, given_key, warn_of_key_file
from satchel.device.lease import ERASE, SYSTEM_CLOCK, Clock, LeaseGuard, LeaseState, lease_ended
from satchel.device.queries import Table
from satchel.device.sign_in import ask_by_browser
from satchel.device.sign_in.kept import (
    Ask,
    KeptSignIn,
    forget_at_issuer,
    read_kept,
    renew,
    sign_in,
    sign_in_again,
    sign_out,
)
from satchel.device.sql import Row, run_sql
from satchel.device.status import DeviceStatus, read_status
from satchel.device.store import Enrolment, Store, readable_failures
from satchel.device.wipe import erase, mark_wiped, refuse_wiped
from satchel.errors import (
    DataFolderUnusable,
    DeviceBusy,
    DeviceExists,
    DeviceNotEnrolled,
    DeviceWiped,
    EditInvalid,
    QueryInvalid,
    RetryLater,
    SatchelError,
    SignInNeeded,
    StoreBusy,
    WipeOrdered,
)
from satchel.model.client_model import ClientModel
from satchel.protocol.enrolment import SignInPlace, parse_link, parse_place

WATCH_WAIT_SECONDS = 25.0
VERDICT_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 60.0
STOP_SECONDS = 0.2


class Device:
    """An enrolled device. Not for several threads at once; several processes may read, one at a time syncs."""

    def __init__(self, folder: DeviceFolder, key: DeviceKey | None, clock: Clock = SYSTEM_CLOCK) -> None:
        """Open the database of an enrolled device; `Device.open` finds the key."""
        self._folder = folder
        self._writer = Store(folder.database, key)
        try:
            enrolment = self._writer.enrolment
            if enrolment is None:
                raise DeviceNotEnrolled(f"{folder.path} holds no enrolled device.")
            self._enrolment: Enrolment = enrolment
            self._reader = Store(folder.database, key, is_read_only=True)
        except BaseException:
            self._writer.close()
            raise
        self._key = key
        self._endpoint: Endpoint | None = None
        self._clock = clock
        self._lease = LeaseGuard(self._reader, self._writer, clock)

    @classmethod
    def enroll(
        cls,
        link: str,
        folder: Path | None = None,
        *,
        name: str = "",
        key: DeviceKey | None = None,
        is_encrypted: bool = True,
        clock: Clock = SYSTEM_CLOCK,
    ) -> Device:
        """Enroll with the link of an administrator. Without `key`: SATCHEL_DEVICE_KEY, else one is made and kept.

        Errors: InputInvalid, EnrolmentRefused, NotEntitled (another server answers), ServerUnreachable, DeviceExists.
        """
        parsed = parse_link(link)

        def register() -> tuple[Enrolment, KeptSignIn | None]:
            return endpoints.enroll(parsed, name or platform.node()), None

        place = DeviceFolder(folder)
        return cls._new(place, enroll_in(place, register, key, is_encrypted=is_encrypted), clock)

    @classmethod
    def sign_in(
        cls,
        server: str | None,
        organization: str | None = None,
        folder: Path | None = None,
        *,
        ask: Ask = ask_by_browser,
        name: str = "",
        ca_pem: str | None = None,
        key: DeviceKey | None = None,
        is_encrypted: bool = True,
        clock: Clock = SYSTEM_CLOCK,
    ) -> Device:
        """Enroll by signing in at the organization's issuer, or, where this device is enrolled, sign in again: what it
        holds stays, edits too. `server`: an address, a domain or a sign-in link; None: the device's own.

        Errors: InputInvalid, SignInRefused, IssuerUnreachable, ServerUnreachable, NotEntitled, DeviceExists (it belongs
        to another organization), TokenInvalid (blocked).
        """
        own = DeviceFolder(folder)
        if own.is_enrolled and not own.wiped.exists():
            device = cls.open(folder, key=key, clock=clock)
            try:
                device._sign_in_again(parse_place(server, organization) if server else None, ask)
            except BaseException:
                device.close()
                raise
            return device
        place = parse_place(server or "", organization)

        def register() -> tuple[Enrolment, KeptSignIn | None]:
            node = name or platform.node()
            return sign_in(place, node, ask, clock.now(), ca_pem=ca_pem, is_encrypted=is_encrypted)

        return cls._new(own, enroll_in(own, register, key, is_encrypted=is_encrypted), clock)

    def sign_out(self) -> list[str]:
        """End the sign-in: what the device holds stays, edits wait, nothing goes to the server before somebody signs in
        again. It always ends here; what server or issuer could not be told is returned in words.

        Errors: InputInvalid (it came in by a link), DeviceBusy, DeviceWiped.
        """
        with self._folder.lock():
            self._check_standing()
            try:
                return sign_out(self._writer, self._enrolment, self._clock.now())
            except WipeOrdered as order:
                self._endpoint = self._endpoint or Endpoint(self._enrolment)
                self._wipe(self._endpoint)
                raise DeviceWiped from order

    @classmethod
    def _new(cls, place: DeviceFolder, key: DeviceKey | None, clock: Clock) -> Device:
        device = cls(place, key, clock)
        if key is not None and key.source == "file":
            warn_of_key_file(place)
        return device

    def _sign_in_again(self, place: SignInPlace | None, ask: Ask) -> None:
        own = (self._enrolment.server_url, self._enrolment.organization)
        if place is not None and (place.server_url, place.organization) != own:
            raise DeviceExists(f"{self._folder.path} holds a device of {own[1]} at {own[0]}.")
        sign_in_again(self._writer, self._enrolment, ask, self._clock.now(), is_encrypted=self._key is not None)

    @classmethod
    def open(cls, folder: Path | None = None, *, key: DeviceKey | None = None, clock: Clock = SYSTEM_CLOCK) -> Device:
        """Open an enrolled device. Without `key`: SATCHEL_DEVICE_KEY, else the one kept. Errors: DeviceNotEnrolled,
        DeviceKeyWrong, DeviceWiped."""
        place = DeviceFolder(folder)
        refuse_wiped(place)
        description = place.describe()
        chosen = None if description.cipher is None else key or given_key() or find_key(place, description.key_source)
        device = cls(place, chosen, clock)
        try:
            device._erase_if_due()
        except BaseException:
            device.close()
            raise
        return device

    def __enter__(self) -> Self:
        """The device itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close database and connections."""
        self._reader.close()
        self._writer.close()
        if self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None

    def sync(
        self,
        progress: Progress | None = None,
        *,
        on_upload: Callable[[UploadProgress], None] | None = None,
        from_start: bool = False,
        wait_seconds: float = 0.0,
    ) -> SyncReport:
        """Hand over what was changed here and bring the copy to where the organization stands.

        With `wait_seconds`, wait for something new first. Where edits were handed over, wait a few seconds for what
        becomes of them. A download goes on where an upload fails (`upload_problem` says why).

        Errors: ServerUnreachable (what arrived stays, the next sync goes on), TokenInvalid, CursorInvalid, DeviceBusy,
        SignInNeeded (edits wait), DeviceWiped (all is erased).
        """
        return self._sync_on(progress, on_upload=on_upload, from_start=from_start, wait_seconds=wait_seconds)

    def _sync_on(
        self,
        progress: Progress | None,
        *,
        on_upload: Callable[[UploadProgress], None] | None = None,
        from_start: bool = False,
        wait_seconds: float,
        on_end: OnEnd | None = None,
    ) -> SyncReport:
        """As `sync`; with `on_end`, one answer after the other until the wait is over."""
        with self._folder.lock():
            self._check_standing()
            self._erase_locked(self._lease.ended())
            if from_start:
                forget_position(self._writer)
            endpoint = self._endpoint = self._endpoint or Endpoint(self._enrolment)
            download = Download(self._writer, endpoint, progress, on_end=on_end, clock=self._clock)

            def go() -> SyncReport:
                sent, problem = self._upload(endpoint, on_upload)
                report = download.run(wait_seconds=0.0 if sent else wait_seconds)
                if sent:
                    self._await_verdicts(download)
                report.edits_sent, report.upload_problem = sent, problem
                return report

            try:
                return self._signed_in(go)
            except WipeOrdered as order:
                self._wipe(endpoint)
                raise DeviceWiped from order

    def _signed_in(self, go: Callable[[], SyncReport]) -> SyncReport:
        """Sync with a sign-in that counts: proved anew in time, or when the server asks for it."""
        renew(self._writer, self._enrolment, self._clock.now(), is_needed=False)
        try:
            return go()
        except SignInNeeded as ended:
            self._writer.set("last_error", f"{ended.message} [{ended.code}]")
        renew(self._writer, self._enrolment, self._clock.now(), is_needed=True)
        return go()

    def _upload(self, endpoint: Endpoint, on_upload: Callable[[UploadProgress], None] | None) -> tuple[int, str | None]:
        try:
            return upload(self._writer, endpoint.post_edits, on_upload), None
        except (WipeOrdered, SignInNeeded):
            raise
        except SatchelError as error:
            return 0, f"{error.message} [{error.code}]"

    def _await_verdicts(self, download: Download) -> None:
        """As long as verdicts come; what is held at the server, or by what the user is to decide, comes later."""
        left = self._on_the_way()
        give_up_at = time.monotonic() + VERDICT_SECONDS
        while left and (remaining := give_up_at - time.monotonic()) > 0:
            download.run(wait_seconds=remaining)
            before, left = left, self._on_the_way()
            if left < before:
                give_up_at = time.monotonic() + VERDICT_SECONDS

    def _on_the_way(self) -> int:
        return outbox.playable_count(self._writer.connection)

    def watch(
        self,
        on_change: Callable[[SyncReport], None],
        *,
        on_trouble: Callable[[SatchelError], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Stay current until told to stop: each change arrives as it happens, and each edit goes out as it is made.

        Networks may come and go, and so may another process that syncs. `on_change` may read and edit; it must not
        sync, which goes on meanwhile.
        """

        def handed_over(report: SyncReport) -> bool:
            if report.rows_put or report.rows_removed or report.was_reset or report.edits_settled:
                on_change(report)
            return should_stop()

        def trouble(error: SatchelError) -> None:
            if on_trouble is not None:
                on_trouble(error)

        pause_seconds = 1.0
        with sending(lambda: Store(self._folder.database, self._key), self._enrolment, trouble):
            while not should_stop():
                try:
                    self._sync_on(None, wait_seconds=WATCH_WAIT_SECONDS, on_end=handed_over)
                except (RetryLater, DeviceBusy) as error:
                    trouble(error)
                    _wait(pause_seconds, should_stop)
                    pause_seconds = min(LONGEST_PAUSE_SECONDS, pause_seconds * 2)
                    continue
                pause_seconds = 1.0

    @contextlib.contextmanager
    def edit(self) -> Iterator[Changes]:
        """Change rows, all of it or nothing, here at once and at the source with the next sync.

        What is changed inside is seen by other reads when the block is left. Errors: EditInvalid (also inside another
        such block), LeaseEnded, DeviceWiped, StoreBusy.
        """
        self._check_readable()
        if not self._writer.connection.get_autocommit():
            raise EditInvalid("Another block of edits is open.", hint="Change rows through what that block gives.")
        with self._writer.transaction() as connection:
            changes = Changes(connection, self._writer.model)
            yield changes
            changes.keep()

    def create(self, entity: str, values: Mapping[str, Any] | None = None, /, **more: Any) -> str:
        """Make one row; returns its key. Errors: as `edit`."""
        with self.edit() as changes:
            return changes.create(entity, values, **more)

    def update(self, entity: str, key: RowId, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Change one row. Errors: as `edit`."""
        with self.edit() as changes:
            changes.update(entity, key, values, **more)

    def delete(self, entity: str, key: RowId) -> None:
        """Delete one row. Errors: as `edit`."""
        with self.edit() as changes:
            changes.delete(entity, key)

    def pending(self) -> list[PendingSet]:
        """Everything in the outbox, in order: what waits, what is on its way, what needs a decision. Where the lease
        has ended, nothing of rows but what was entered here."""
        self._check_standing()
        is_locked = self._erase_if_due() is not None
        found = outbox.all_sets(self._reader.connection)
        return [outbox.entered_only(each) if is_locked else each for each in found]

    def retry(self, number: int) -> None:
        """Send an edit set that was not executed once more. Errors: EditUnknown, EditInvalid."""
        with self._settling() as (connection, overlay):
            retry(connection, overlay, number)

    def resolve(self, number: int, choices: Mapping[str, Choice]) -> None:
        """Decide a conflict by attribute, or correct what was refused. Errors: EditUnknown, EditInvalid."""
        with self._settling() as (connection, overlay):
            resolve(connection, overlay, self._writer.model, number, choices)

    def discard(self, number: int, *, with_dependents: bool = False) -> list[int]:
        """Undo an edit set that is not executed; returns the numbers of all that went. Errors: EditUnknown,
        EditInvalid."""
        with self._settling() as (connection, overlay):
            return discard(connection, overlay, number, with_dependents=with_dependents)

    @contextlib.contextmanager
    def _settling(self) -> Iterator[tuple[apsw.Connection, Overlay]]:
        self._check_standing()
        with self._writer.transaction() as connection:
            overlay = Overlay(connection, self._writer.model)
            yield connection, overlay
            overlay.finish(is_complete=False)

    def sql(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
        """Read with SQL. Errors: QueryInvalid, LeaseEnded, DeviceWiped."""
        self._check_readable()
        return run_sql(self._reader, query, parameters)

    def table(self, entity: str) -> Table:
        """Read with typed values. Errors: QueryInvalid, LeaseEnded, DeviceWiped."""
        self._check_readable()
        found = self.model.entity_by_name.get(entity)
        if found is None:
            raise QueryInvalid(
                f"This device has no entity {entity!r}.",
                hint=f"It has {', '.join(sorted(self.model.entity_by_name)) or 'none yet: sync first'}.",
            )
        return Table(self._reader, found, self._check_readable)

    @property
    def model(self) -> ClientModel:
        """The entities and attributes this device has."""
        self._check_standing()
        return self._reader.model

    @property
    def enrolment(self) -> Enrolment:
        """Who this device is."""
        return self._enrolment

    def status(self) -> DeviceStatus:
        """How the device stands. Errors: DeviceWiped."""
        self._check_standing()
        return read_status(
            self._reader,
            self._folder,
            self._enrolment,
            is_encrypted=self._key is not None,
            is_locked=self._lease.ended() is not None,
        )

    def _check_standing(self) -> None:
        """Refuse where a wipe was begun, in this process or another."""
        if self._folder.wiped.exists():
            raise DeviceWiped

    def _check_readable(self) -> None:
        """What stands before each read."""
        self._check_standing()
        ended = self._erase_if_due()
        if ended is not None:
            raise lease_ended(ended)

    def _erase_if_due(self) -> LeaseState | None:
        """The lease, where it has ended; what it says to erase is erased then, unless another process syncs or the disk
        is full: reading is refused all the same, and the next look tries again."""
        with readable_failures():
            ended = self._lease.ended()
            is_due = self._lease.must_clean or (ended is not None and ended.action == ERASE and self._holds_data())
        if is_due:
            with contextlib.suppress(DeviceBusy, StoreBusy, DataFolderUnusable), self._folder.lock():
                self._erase_locked(self._lease.ended())  # it may have been renewed before the lock was free
        return ended

    def _erase_locked(self, ended: LeaseState | None) -> None:
        self._lease.clean()
        if ended is not None and ended.action == ERASE and self._holds_data():
            self._lease.erase()

    def _holds_data(self) -> bool:
        return self._reader.has_model or self._reader.get("cursor") is not None

    def _wipe(self, endpoint: Endpoint) -> None:
        mark_wiped(self._folder)
        kept = None
        with contextlib.suppress(Exception):  # whatever is broken in it, it is erased
            kept = read_kept(self._writer)
        self._reader.close()
        self._writer.close()
        erase(self._folder)
        with contextlib.suppress(SatchelError):  # the server knows at least that the device was told
            endpoint.confirm_wiped()
        if kept is not None:
            forget_at_issuer(kept)


def _wait(seconds: float, should_stop: Callable[[], bool]) -> None:
    resume_at = time.monotonic() + seconds
    while not should_stop() and (left := resume_at - time.monotonic()) > 0:
        time.sleep(min(STOP_SECONDS, left))
