"""The installation's master key, and the keys derived from it, one a purpose."""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from satchel.errors import DataFolderUnusable, SettingInvalid
from satchel.settings.schema import Settings

KEY_BYTES = 32


class MasterKey:
    """32 bytes that everything sealed depends on. Back it up apart from the data."""

    def __init__(self, key: bytes) -> None:
        """Errors: SettingInvalid where it is not 32 bytes."""
        if len(key) != KEY_BYTES:
            raise SettingInvalid(
                f"The master key has {len(key)} bytes instead of {KEY_BYTES}.",
                hint="Make one with: python3 -c 'import base64, os; print(base64.b64encode(os.urandom(32)).decode())'",
            )
        self._key = key

    def __repr__(self) -> str:
        return "MasterKey()"

    @classmethod
    def load(cls, settings: Settings) -> MasterKey:
        """From the setting, else from its file, which is made on first start."""
        if settings.secrets.key:
            return cls(_decode(settings.secrets.key, "[secrets] key"))
        path = settings.master_key_file
        if not path.exists():
            _make(path)
        return cls(_decode(path.read_text("ascii").strip(), str(path)))

    def derive(self, purpose: str) -> bytes:
        """A key of its own for each purpose. Source: RFC 5869, SHA-256."""
        return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode()).derive(self._key)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all. Errors: DataFolderUnusable."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataFolderUnusable(f"{path} cannot be written: {error.strerror}.") from error


def _make(path: Path) -> None:
    """Two processes may start at once: the first one's key counts."""
    candidate = path.with_name(f".{path.name}.new{os.getpid()}")
    write_private(candidate, base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
    try:
        os.link(candidate, path)
    except FileExistsError:
        return
    finally:
        candidate.unlink(missing_ok=True)


def _decode(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise SettingInvalid(f"{where} is not base64.") from error
