"""The key of the device's database: given, from the operating system's keyring, or from a private file."""

from __future__ import annotations

import hashlib
import os
import secrets
import warnings
from pathlib import Path

import keyring
import msgspec

from satchel.device.folder import DeviceFolder, write_private
from satchel.errors import DeviceKeyWrong

CIPHER = "aegis"
_SERVICE = "satchel device"
_KEY_BYTES = 32
_NO_KEYRING = Exception  # its backends let through whatever the desktop's services raise


class DeviceKey(msgspec.Struct, frozen=True):
    """A key as SQLite takes it, and where it came from."""

    hexadecimal: str
    source: str

    def __repr__(self) -> str:
        return f"DeviceKey(source={self.source!r})"

    @classmethod
    def from_passphrase(cls, passphrase: str) -> DeviceKey:
        """A key from a passphrase or a key file's content. The cipher's own key derivation (PBKDF2) hardens it."""
        return cls(hashlib.sha256(passphrase.strip().encode()).hexdigest(), "given")

    @classmethod
    def from_file(cls, path: Path) -> DeviceKey:
        """A key from a file's content. Errors: DeviceKeyWrong."""
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DeviceKeyWrong(f"The key file {path} cannot be read.") from error
        if not text.strip():
            raise DeviceKeyWrong(f"The key file {path} is empty.")
        return cls.from_passphrase(text)


def given_key() -> DeviceKey | None:
    """The key in the environment, if there is one."""
    text = os.environ.get("SATCHEL_DEVICE_KEY", "")
    return DeviceKey.from_passphrase(text) if text.strip() else None


def make_key(folder: DeviceFolder) -> DeviceKey:
    """A new random key, kept in the keyring where there is one, else in a file beside the database."""
    value = secrets.token_hex(_KEY_BYTES)
    try:
        keyring.set_password(_SERVICE, str(folder.path), value)
        if keyring.get_password(_SERVICE, str(folder.path)) == value:
            return DeviceKey(value, "keyring")
    except _NO_KEYRING:
        pass
    write_private(folder.key_file, value.encode())
    return DeviceKey(value, "file")


def warn_of_key_file(folder: DeviceFolder) -> None:
    """Say, when all is done, that the key lies beside the data."""
    warnings.warn(
        f"This system has no keyring, so the key lies in {folder.key_file}: whoever copies the folder can read it. "
        "Enroll with a passphrase or a key file kept elsewhere to avoid that.",
        stacklevel=3,
    )


def find_key(folder: DeviceFolder, source: str) -> DeviceKey:
    """The key that was kept when the device was enrolled. Errors: DeviceKeyWrong."""
    if source == "file" and folder.key_file.exists():
        return DeviceKey(folder.key_file.read_text("utf-8").strip(), "file")
    if source == "keyring":
        try:
            value = keyring.get_password(_SERVICE, str(folder.path))
        except _NO_KEYRING as error:
            raise DeviceKeyWrong("The keyring does not open.", hint="Unlock it and try again.") from error
        if value:
            return DeviceKey(value, "keyring")
    raise DeviceKeyWrong(
        "The device's key is missing.",
        hint="Give it with --key-file or --passphrase-file, or in SATCHEL_DEVICE_KEY.",
    )


def forget_key(folder: DeviceFolder) -> bool:
    """Remove the key from the keyring; False where the keyring does not open, so that it must be tried again."""
    try:
        if keyring.get_password(_SERVICE, str(folder.path)) is not None:
            keyring.delete_password(_SERVICE, str(folder.path))
    except _NO_KEYRING:
        return False
    return True
