"""The installation's master keys, and the keys derived from them, one a purpose.

There may be several: the first seals, all of them open. So a key can be replaced while everything runs: a new one is
put first, what was sealed with older ones is sealed again (`satchel key rotate`), old ones go (`satchel key retire`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import keyring
import structlog
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from satchel.errors import DataFolderUnusable, SettingInvalid
from satchel.settings.schema import Settings

KEY_BYTES = 32
MAX_KEYS = 16
_SERVICE = "satchel master key"
log = structlog.get_logger()
_HINT = "Make one with: satchel key make"


class PurposeKeys:
    """The keys of one purpose, as the master keys are at the moment of asking."""

    def __init__(self, master: MasterKey, purpose: str) -> None:
        """`MasterKey.keys` makes it."""
        self._master = master
        self._purpose = purpose

    def __repr__(self) -> str:
        return f"PurposeKeys({self._purpose!r})"

    @property
    def newest(self) -> bytes:
        """What seals."""
        return _derived(self._master.newest, self._purpose)

    @property
    def all(self) -> list[bytes]:
        """What opens, newest first."""
        return [_derived(key, self._purpose) for key in self._master.current()]


class MasterKey:
    """Keys of 32 bytes that everything sealed depends on. Back them up apart from the data.

    Kept in a file, they are read again when the file changes, so that running services follow a rotation.
    """

    def __init__(self, *keys: bytes, file: Path | None = None, keyring_name: str | None = None) -> None:
        """Newest first. Errors: SettingInvalid where one is not 32 bytes, or there is none."""
        self._keys = _checked(keys)
        self._file = file
        self._keyring_name = keyring_name
        self._stamp = _stamp(file)
        self._unusable: tuple[int, int, int] | None = None

    def __repr__(self) -> str:
        return "MasterKey()"

    @classmethod
    def load(cls, settings: Settings) -> MasterKey:
        """From the setting, else from keyring or file, where the first start makes one. Errors: SettingInvalid,
        DataFolderUnusable."""
        if settings.secrets.key:
            return cls(*_parse(settings.secrets.key, "[secrets] key"))
        if settings.secrets.keyring:
            name = str(settings.data_folder)
            return cls(*_from_keyring(name), keyring_name=name)
        path = settings.master_key_file
        if not path.exists():
            _make(path)
        return cls(*_parse(_read(path), str(path)), file=path)

    @property
    def newest(self) -> bytes:
        """What seals."""
        return self.current()[0]

    def current(self) -> tuple[bytes, ...]:
        """All keys, newest first; as they were while the file cannot be read. Cost: one look at the file's stamp."""
        if self._file is not None and (stamp := _stamp(self._file)) not in {self._stamp, self._unusable, None}:
            try:
                self._keys, self._stamp = _checked(_parse(_read(self._file), str(self._file))), stamp
            except SettingInvalid as error:  # half written, or another's: what runs goes on, what starts refuses
                self._unusable = stamp
                log.error("master keys not read again, going on with those before", reason=error.message)
        return self._keys

    def keys(self, purpose: str) -> PurposeKeys:
        """The keys of one purpose."""
        return PurposeKeys(self, purpose)

    def derive(self, purpose: str) -> bytes:
        """The newest key of one purpose. Source: RFC 5869, SHA-256."""
        return _derived(self.newest, purpose)

    def replace(self, keys: Sequence[bytes]) -> None:
        """Keep these keys instead, newest first, whole or not at all. Errors: SettingInvalid where they are not ours to
        keep, DataFolderUnusable."""
        text = "\n".join(base64.b64encode(key).decode() for key in _checked(keys)) + "\n"
        if self._file is not None:
            write_private(self._file, text.encode())
        elif self._keyring_name is not None:
            _to_keyring(self._keyring_name, text)
        else:
            raise SettingInvalid(
                "The master keys are given by [secrets] key, so Satchel cannot change them.",
                hint="Put the new key first and the old ones behind it, with commas, and start the services again.",
            )
        self._keys, self._stamp = tuple(keys), _stamp(self._file)


def new_key() -> bytes:
    """A new random key."""
    return os.urandom(KEY_BYTES)


def key_name(key: bytes) -> str:
    """What a key is called where people see it; nothing of the key can be learned from it."""
    return hashlib.sha256(b"satchel key name" + key).hexdigest()[:8]


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all. When this returns it also outlives a power cut: what
    is sealed next with a key must not be there without it. Errors: DataFolderUnusable."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _keep_names(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataFolderUnusable(f"{path} cannot be written: {error.strerror}.") from error


@lru_cache(maxsize=256)
def _derived(key: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode()).derive(key)


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None  # what was read goes on
    return (found.st_mtime_ns, found.st_size, found.st_ino) if found else None


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingInvalid(f"The master key file {path} cannot be read.") from error


def _make(path: Path) -> None:
    """Two processes may start at once: the first one's key counts."""
    candidate = path.with_name(f".{path.name}.new{os.getpid()}")
    write_private(candidate, base64.b64encode(new_key()) + b"\n")
    try:
        os.link(candidate, path)
        _keep_names(path.parent)
    except FileExistsError:
        return
    finally:
        candidate.unlink(missing_ok=True)


def _keep_names(folder: Path) -> None:
    """Make durable which files stand in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _from_keyring(name: str) -> list[bytes]:
    try:
        text = keyring.get_password(_SERVICE, name)
    except Exception as error:  # its backends let through whatever the desktop's services raise
        raise SettingInvalid("The keyring does not open.", hint="Unlock it, or use [secrets] key_file.") from error
    if not text:
        text = base64.b64encode(new_key()).decode()
        _to_keyring(name, text)
    return _parse(text, "The keyring's entry")


def _to_keyring(name: str, text: str) -> None:
    try:
        keyring.set_password(_SERVICE, name, text)
        is_kept = keyring.get_password(_SERVICE, name) == text
    except Exception as error:
        raise SettingInvalid("The keyring does not take the key.", hint="Use [secrets] key_file.") from error
    if not is_kept:
        raise SettingInvalid("This system has no keyring that keeps the key.", hint="Use [secrets] key_file.")


def _parse(text: str, where: str) -> list[bytes]:
    """Keys with commas or line ends between."""
    try:
        return [base64.b64decode(each, validate=True) for each in re.split(r"[\s,]+", text) if each]
    except (binascii.Error, ValueError) as error:
        raise SettingInvalid(f"{where} is not base64.", hint=_HINT) from error


def _checked(keys: Sequence[bytes]) -> tuple[bytes, ...]:
    if not 0 < len(keys) <= MAX_KEYS:
        raise SettingInvalid(f"There are {len(keys)} master keys; there must be 1 to {MAX_KEYS}.", hint=_HINT)
    for key in keys:
        if len(key) != KEY_BYTES:
            raise SettingInvalid(f"The master key has {len(key)} bytes instead of {KEY_BYTES}.", hint=_HINT)
    return tuple(keys)
