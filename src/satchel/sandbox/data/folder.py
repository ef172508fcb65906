"""A sample organization that stays: one file in a folder, found again as it was left."""

from __future__ import annotations

from pathlib import Path

import apsw
import msgspec

from satchel.errors import DataFolderUnusable, InputInvalid
from satchel.sandbox.data.directory_rows import Directory
from satchel.sandbox.data.generate import Progress, generate
from satchel.sandbox.data.store import Store

FILE = "organization.sqlite"
_DIRECTORY = "directory"
_ROWS = "rows"
_HINT = "Give another --folder."


class Opened(msgspec.Struct):
    """An organization and what is to be known of it."""

    store: Store
    directory: Directory
    is_new: bool


def open_organization(folder: Path | None, rows: int, seed: int, progress: Progress = lambda _: None) -> Opened:
    """The organization in a folder, made where there is none yet; without a folder a new one in memory.

    Errors: InputInvalid where rows or seed are not those it was made of, DataFolderUnusable.
    """
    if folder is None:
        store = Store()
        return Opened(store, generate(store, rows, seed, progress), is_new=True)
    path = _usable(folder) / FILE
    try:
        return _in_file(path, rows, seed, progress)
    except (apsw.BusyError, apsw.LockedError) as error:
        raise DataFolderUnusable(f"{folder} is in use by another process.", hint=_HINT) from error
    except apsw.Error as error:
        raise DataFolderUnusable(f"{path} cannot be used: {error}.", hint=_HINT) from error


def _in_file(path: Path, rows: int, seed: int, progress: Progress) -> Opened:
    made_of = f"{rows} rows, seed {seed}"
    if path.exists():
        standing = _standing(path, made_of)
        if standing is not None:
            return standing
        _remove(path)
    store = Store(str(path))
    directory = generate(store, rows, seed, progress)
    store.note(_ROWS, made_of)
    store.note(_DIRECTORY, msgspec.json.encode(directory).decode())
    return Opened(store, directory, is_new=True)


def _standing(path: Path, made_of: str) -> Opened | None:
    """What the file holds; None where its making was interrupted."""
    store = Store(str(path))
    known, directory = store.noted(_ROWS), store.noted(_DIRECTORY)
    if known is None or directory is None:
        store.close()
        return None
    if known != made_of:
        store.close()
        raise InputInvalid(
            f"The organization in {path.parent} was made of {known}.",
            hint="Give the same --rows and --seed, or another folder.",
        )
    return Opened(store, msgspec.json.decode(directory, type=Directory), is_new=False)


def _usable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DataFolderUnusable(f"{folder} cannot be written: {error.strerror}.", hint=_HINT) from error
    return folder


def _remove(path: Path) -> None:
    for name in (path, path.with_name(f"{FILE}-wal"), path.with_name(f"{FILE}-shm")):
        name.unlink(missing_ok=True)
