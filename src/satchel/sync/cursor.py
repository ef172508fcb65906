"""The device's resume token: sealed by the server, kept by the device, so that servers keep no state per device.

It is bound to organization and device (associated data of the seal): another device's cursor does not open.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import msgspec

from satchel.errors import CursorExpired, CursorInvalid, SealBroken, SealUnknownKey
from satchel.identity.secrets import open_sealed, seal
from satchel.model.ids import BucketId, OpId
from satchel.model.packing import unpack_buckets

MAX_CURSOR_CHARACTERS = 512 * 1024


class CursorState(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What a device has.

    `held` is complete as of `checkpoint`. `loading` is not there yet: of its buckets of `loading_entity`, everything up
    to (`at_bucket`, `at_op`) was sent. The checkpoint stands still while anything is loading, so the changes behind it
    bring the loaded rows forward as well.
    """

    epoch: str
    checkpoint: int = 0
    binding: int = -1
    is_reset: bool = False
    entities: dict[str, str] = {}
    """For each entity sent: life of its staging table / digest of its client model."""
    held: bytes = b""
    loading: bytes = b""
    loading_entity: str = ""
    at_bucket: int = 0
    at_op: int = 0
    is_catching_up: bool = False
    """Before anything is loaded, what is held is brought to the head: rows moved since would come twice otherwise."""
    known: bytes = b""
    """Buckets held when the loading began: their rows, unchanged since `known_at`, need not come again."""
    known_at: int = 0
    began_at: int = 0
    """The head when the loading began."""
    model: str = ""
    """Digest of the user's client model, made of the organization's `base_model`."""
    base_model: str = ""
    verdict: int = 0
    """Verdicts on the device's edit sets up to this number were sent."""

    image: int = 0
    """The snapshot whose frames are under way; 0: none, or all of them were sent."""
    image_frame: int = 0
    """How many of its frames were sent."""
    image_bucket: int = 0
    """The bucket that the snapshot is of, until its tail was sent as well."""
    image_op: int = 0
    """How far that bucket was sent: as of the snapshot, then by its tail."""
    imaged: bytes = b""
    """Buckets of the loading entity that are through in this way."""

    @property
    def known_buckets(self) -> list[BucketId]:
        """The buckets whose rows the device had before the loading began."""
        return unpack_buckets(self.known)

    @property
    def held_buckets(self) -> list[BucketId]:
        """The buckets the device has."""
        return unpack_buckets(self.held)

    @property
    def loading_buckets(self) -> list[BucketId]:
        """The buckets under way to the device."""
        return unpack_buckets(self.loading)

    @property
    def imaged_buckets(self) -> list[BucketId]:
        """The buckets of the loading entity that came as images, their tails included."""
        return unpack_buckets(self.imaged)

    @property
    def position(self) -> tuple[BucketId, OpId]:
        """How far the loading entity was sent."""
        return BucketId(self.at_bucket), OpId(self.at_op)


class CursorSeal:
    """Seals and opens the cursors of one device."""

    def __init__(self, keys: Sequence[bytes], organization: str, device_id: str) -> None:
        """The keys are the installation's for cursors: the first seals, all open."""
        self._keys = keys
        self._bound_to = f"cursor/{organization}/{device_id}".encode()

    def seal(self, state: CursorState) -> str:
        """The token for the device."""
        sealed = seal(self._keys[0], msgspec.msgpack.encode(state), self._bound_to)
        return base64.urlsafe_b64encode(sealed).decode()

    def open(self, token: str) -> CursorState:
        """What the device has. Errors: CursorInvalid (altered, another's), CursorExpired (of an older key or form)."""
        if len(token) > MAX_CURSOR_CHARACTERS:
            raise CursorInvalid("The cursor is too long.")
        try:
            plain = open_sealed(self._keys, base64.urlsafe_b64decode(token.encode()), self._bound_to)
        except SealUnknownKey as error:
            raise CursorExpired from error
        except (SealBroken, binascii.Error, ValueError) as error:
            raise CursorInvalid from error
        try:
            return msgspec.msgpack.decode(plain, type=CursorState)
        except msgspec.ValidationError as error:
            raise CursorExpired from error
