"""The lines of a sync answer and the bodies of the requests, version 1.

A sync answer is `application/x-ndjson`, one JSON document a line, in this order: `begin`, `model` (when the device's
hash differs), then `wipe`, `remove`, `put`, `image`, `loaded`, `outcome` and `cursor` lines in any number, `end`. What
stands before a `cursor` or `end` line is committed together with it; what follows the last of them in a broken answer
is dropped. Images come only to clients that say that they take them (`protocol/images.py`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from satchel.model.client_model import ClientModel
from satchel.model.edits import Outcome, Receipt

MEDIA_TYPE = "application/x-ndjson"
PROBLEM_MEDIA_TYPE = "application/problem+json"
MAX_WAIT_SECONDS = 60
MAX_SETS_IN_A_REQUEST = 500
MAX_EDITS_REQUEST_BYTES = 8 * 1024 * 1024


class SyncRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/orgs/{org}/sync`. `?wait=SECONDS` keeps the request open until there is something new."""

    cursor: str | None = None
    model: str | None = None
    """Digest of the client model the device has."""


class Lease(msgspec.Struct, frozen=True):
    """How long a device may read without hearing the server; told with every answer, and counted from it."""

    seconds: int
    """0: without limit."""
    action: str
    """When it has ended: `lock` or `erase`. A device takes what it does not know as `lock`."""


class Begin(msgspec.Struct):
    """First line of an answer."""

    checkpoint: int
    model: str
    reset: bool = False
    """From here to `end` (of this answer or one that resumes it) the whole scope comes again: the device keeps what it
    has until `end` and then drops every row that was not put since the reset began."""
    lease: Lease | msgspec.UnsetType = msgspec.UNSET


class Put(msgspec.Struct):
    """Rows of one entity, new or changed; `rows` are arrays in the order of `columns`."""

    entity: str
    columns: list[str]
    rows: list[list[Any]]


class Remove(msgspec.Struct):
    """Keys that left the scope or were deleted: one value a key, an array of values for a composite key."""

    entity: str
    keys: list[Any]


class End(msgspec.Struct):
    """The copy is complete and consistent as of this checkpoint."""

    checkpoint: int
    cursor: str


class Line(msgspec.Struct, omit_defaults=True):
    """One line of a sync answer: exactly one of the fields is set, but for those that come with `put` and `image`."""

    begin: Begin | None = None
    model: ClientModel | None = None
    wipe: list[str] | None = None
    put: str | None = None
    columns: list[str] | None = None
    rows: list[list[Any]] | None = None
    image: str | None = None
    """With `columns`, `count` and `size`: rows as an image, so many bytes, which stand behind the line's end."""
    count: int = 0
    size: int = 0
    guids: int = 0
    mark: str = ""
    """Where GUIDs stand apart: how many, and what stands in their places (`protocol/images.py`)."""
    content: bytes = b""
    """The image itself; no part of the line."""
    loaded: str | None = None
    """An entity of which all rows have come."""
    remove: str | None = None
    keys: list[Any] | None = None
    outcome: Outcome | None = None
    cursor: str | None = None
    end: End | None = None


JOURNAL_HEADER = "Satchel-Journal"
"""The journal that the device handed its edits to before. A header: servers that do not know it yet pass over it."""


class EditsRequest(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Body of `POST /v1/orgs/{org}/edits`: the next edit sets of this device, in order. Sending again is harmless."""

    sets: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_SETS_IN_A_REQUEST)]
    """Each an `EditSet`: one that is not usable is refused by itself."""
    journal: str | None = None
    """On the device only; it travels as `JOURNAL_HEADER`."""


class EditsAnswer(msgspec.Struct):
    """Answer to an `EditsRequest`, in its order."""

    sets: list[Receipt]
    journal: str | None = None
    """Names the journal that has them now: where it is lost, another one takes its place."""


class EnrollRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/orgs/{org}/enroll`."""

    code: str
    device_name: str = ""


class Discovered(msgspec.Struct):
    """Answer to a discovery: where an organization's devices sync, if there is one of that name."""

    sync_url: str


class EnrollAnswer(msgspec.Struct):
    """Answer to an enrolment: the device's token, shown once."""

    organization: str
    device_id: str
    user_id: str
    user_name: str
    token: str


class SignInOptions(msgspec.Struct):
    """Answer to `GET /v1/orgs/{org}/sign-in`: where and how users of this organization sign in."""

    issuer: str
    client_id: str
    scopes: str
    token: Literal["access", "id"]
    """Which of the issuer's tokens the server wants to see."""
    redirect_uri: str
    resource: str = ""
    tenants: list[str] = []
    ca_pem: str | None = None
    """Certificates to trust for the issuer besides the system's."""


class SignInRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/orgs/{org}/sign-in`, which carries the issuer's token as its bearer token."""

    device_name: str = ""
    device_token: str | None = None
    """With it, the sign-in of this device is proved anew; without, a new device is registered."""


class SignInAnswer(msgspec.Struct):
    """Answer to a sign-in. A device that is known keeps its token."""

    organization: str
    device_id: str
    user_id: str
    user_name: str
    token: str
    valid_seconds: float
    """So long the device may sync until the sign-in must be proved anew."""


class Problem(msgspec.Struct, omit_defaults=True):
    """Every refusal. Source: RFC 9457, members `code` and `hint` added."""

    title: str
    status: int
    type: str = "about:blank"
    detail: str = ""
    code: str = ""
    hint: str = ""
    retry_after_seconds: float | None = None
