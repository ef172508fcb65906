"""The device's database: opening it with its key, and the small state that stands beside the tables.

WAL: killing the process loses nothing that was committed. What a download commits (`begin`) is not flushed to the disk:
a power cut takes at worst the last of it away - whole, with its cursor, so that the next sync brings it again. What
comes from here, edits above all, nobody brings again: a `transaction` is on the disk when it is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec

from satchel.device.edits.outbox import TABLES, strip
from satchel.device.key import CIPHER, DeviceKey
from satchel.device.schema import LOADING
from satchel.errors import CopyDiverged, DataFolderUnusable, DeviceKeyWrong, StoreBusy
from satchel.model.client_model import ClientModel
from satchel.protocol.images import quoted

_CACHE_KIB = 64 * 1024
_PAGE_BYTES = 8192
"""Of new databases: with SQLite's own 4,096 a first sync takes 10 % more processor time. Larger ones cost small syncs
more: whatever changes in a page, all of it is written."""
_WAL_PAGES = 1000
_WAL_BYTES = 64 * 1024 * 1024
_BUSY_MILLISECONDS = 10_000
DATA_STATE = ("model", "cursor", "checkpoint", "reset")
_STATE = """
create table if not exists _satchel_state (name text primary key, value text) without rowid;
create table if not exists _satchel_seen (entity text, row integer, primary key (entity, row)) without rowid;
"""


class Enrolment(msgspec.Struct, frozen=True):
    """Who this device is, kept inside the encrypted database."""

    server_url: str
    organization: str
    device_id: str
    user_id: str
    user_name: str
    token: str
    ca_pem: str | None

    def __repr__(self) -> str:
        return f"Enrolment(organization={self.organization!r}, device_id={self.device_id!r})"


class Store:
    """One connection to the database."""

    def __init__(self, path: Path, key: DeviceKey | None, *, is_read_only: bool = False) -> None:
        """Open the database; a new one is made unless read only. Errors: DeviceKeyWrong, DataFolderUnusable."""
        mode = apsw.SQLITE_OPEN_READONLY if is_read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        with readable_failures():
            is_new = not path.exists() or path.stat().st_size == 0
            self.connection = apsw.Connection(str(path), flags=mode)
            try:
                self.connection.set_busy_timeout(_BUSY_MILLISECONDS)
                if is_new:  # an older one keeps its own
                    self.connection.pragma("page_size", _PAGE_BYTES)
                self._unlock(key)
                self._prepare(is_read_only=is_read_only)
            except BaseException:
                self.connection.close()
                raise

    def close(self) -> None:
        """Close the connection, whatever still reads from it."""
        self.connection.close(force=True)

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """A write transaction: all of it or nothing, also in a power cut. Errors: as `readable_failures`."""
        with readable_failures():
            try:
                yield self.begin(is_lasting=True)
                self.connection.execute("commit")
            except BaseException:
                self.rollback()
                raise

    def begin(self, *, is_lasting: bool = False) -> apsw.Connection:
        """Begin a write transaction, or go on with the one that is open. `is_lasting`: its commit waits for the disk,
        and so has everything that was committed before it."""
        if self.connection.get_autocommit():
            self.connection.pragma("synchronous", "full" if is_lasting else "normal")
            self.connection.execute("begin immediate")
        return self.connection

    def rollback(self) -> None:
        """Drop what was not committed. SQLite has done it already after some failures, such as a full disk."""
        if not self.connection.get_autocommit():
            self.connection.execute("rollback")

    def get(self, name: str) -> str | None:
        """A value of the state."""
        for (value,) in self.connection.execute("select value from _satchel_state where name = ?", (name,)):
            return str(value)
        return None

    def set(self, name: str, value: str | None) -> None:
        """Change a value of the state; None removes it."""
        if value is None:
            self.connection.execute("delete from _satchel_state where name = ?", (name,))
        else:
            self.connection.execute("insert or replace into _satchel_state values (?, ?)", (name, value))

    @contextmanager
    def impatient(self) -> Iterator[None]:
        """Wait for no other process meanwhile."""
        self.connection.set_busy_timeout(0)
        try:
            yield
        finally:
            self.connection.set_busy_timeout(_BUSY_MILLISECONDS)

    def drop_data(self, connection: apsw.Connection) -> None:
        """Drop all tables and what tells where the copy stands, in the caller's transaction.

        The enrolment stays, and so do edits: what the user entered, and of rows nothing but the attributes they set.
        """
        for entity in self.model.entities:
            connection.execute(f"drop table if exists {quoted(entity.name)}")
        connection.execute("delete from _satchel_seen")
        connection.execute("delete from _satchel_load")
        strip(connection)
        for name in DATA_STATE:
            self.set(name, None)

    def compact(self) -> bool:
        """Cut the file to what is in it and empty the log; False where another process reads from it just now."""
        with readable_failures(), self.impatient():
            try:
                self.connection.execute("vacuum")
            except (apsw.BusyError, apsw.LockedError):
                return False
        return self.empty_log()

    def empty_log(self) -> bool:
        """Bring the log into the file, and cut it off; False where another process reads from it, or the disk is full:
        what was committed counts all the same."""
        with self.impatient():
            try:
                ((is_busy, _, _),) = self.connection.execute("pragma wal_checkpoint(truncate)").fetchall()
            except apsw.Error:
                return False
        return not is_busy

    @property
    def has_model(self) -> bool:
        """A client model has come, be it one without entities."""
        return self.get("model") is not None

    @property
    def model(self) -> ClientModel:
        """The client model the tables follow."""
        text = self.get("model")
        return msgspec.json.decode(text, type=ClientModel) if text else ClientModel()

    @property
    def enrolment(self) -> Enrolment | None:
        """Who this device is."""
        text = self.get("enrolment")
        return msgspec.json.decode(text, type=Enrolment) if text else None

    def _unlock(self, key: DeviceKey | None) -> None:
        if key is not None:
            self.connection.pragma("cipher", CIPHER)
            self.connection.pragma("hexkey", key.hexadecimal)

    def _prepare(self, *, is_read_only: bool) -> None:
        self.connection.execute("select count(*) from sqlite_master").fetchall()  # a wrong key shows here
        self.connection.pragma("cache_size", -_CACHE_KIB)
        self.connection.pragma("temp_store", "memory")
        if is_read_only:
            return
        self.connection.pragma("journal_mode", "wal")
        self.connection.pragma("synchronous", "normal")
        self.connection.pragma("wal_autocheckpoint", _WAL_PAGES)
        self.connection.pragma("journal_size_limit", _WAL_BYTES)
        self.connection.execute(_STATE + LOADING + TABLES)


@contextmanager
def readable_failures() -> Iterator[None]:
    """Turns what can go wrong with a database file into our errors. Errors: DeviceKeyWrong, DataFolderUnusable,
    StoreBusy, CopyDiverged (the file is damaged)."""
    try:
        yield
    except apsw.NotADBError as error:
        raise DeviceKeyWrong from error
    except apsw.FullError as error:
        raise DataFolderUnusable(
            "The device's disk is full.", hint="Free some space and sync again; nothing is lost."
        ) from error
    except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError, apsw.IOError) as error:
        raise DataFolderUnusable(f"The device's database cannot be read or written: {error}.") from error
    except (apsw.BusyError, apsw.LockedError) as error:
        raise StoreBusy("Another program holds the device's database.") from error
    except apsw.CorruptError as error:
        raise CopyDiverged(
            "The device's database is damaged.",
            hint="Delete its folder and enroll anew; nothing at the server is lost.",
        ) from error
