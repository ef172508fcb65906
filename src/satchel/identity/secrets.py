"""Sealing small values: AES-256-GCM, bound to a purpose by associated data.

Form: version byte (1), key id (first 4 bytes of the key's SHA-256), nonce (12 bytes), ciphertext with tag.
Source: NIST SP 800-38D.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from satchel.errors import SealBroken, SealUnknownKey

_VERSION = b"\x01"
_KEY_ID_BYTES = 4
_NONCE_BYTES = 12
_HEAD_BYTES = 1 + _KEY_ID_BYTES + _NONCE_BYTES
_TAG_BYTES = 16


def seal(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Encrypt and authenticate; only the same key and the same associated data open it."""
    head = _VERSION + _key_id(key)
    nonce = os.urandom(_NONCE_BYTES)
    return head + nonce + AESGCM(key).encrypt(nonce, plaintext, head + associated)


def open_sealed(keys: Sequence[bytes], sealed: bytes, associated: bytes) -> bytes:
    """The reverse, with whichever of the keys it was. Errors: SealUnknownKey (with another key), SealBroken (altered,
    or for another purpose)."""
    if len(sealed) < _HEAD_BYTES + _TAG_BYTES or sealed[:1] != _VERSION:
        raise SealBroken
    head, nonce = sealed[: 1 + _KEY_ID_BYTES], sealed[1 + _KEY_ID_BYTES : _HEAD_BYTES]
    key = next((each for each in keys if _key_id(each) == head[1:]), None)
    if key is None:
        raise SealUnknownKey
    try:
        return AESGCM(key).decrypt(nonce, sealed[_HEAD_BYTES:], head + associated)
    except InvalidTag as error:
        raise SealBroken from error


def is_sealed_with(key: bytes, sealed: bytes) -> bool:
    """Whether it says that this key sealed it."""
    return sealed[1 : 1 + _KEY_ID_BYTES] == _key_id(key)


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:_KEY_ID_BYTES]
