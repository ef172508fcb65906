"""Nothing secret passes into logs, traces or errors: by the names of fields at any depth, by the shape of what is
written, and by value where a process says which values it keeps secret."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping, Sequence, Set
from typing import Any

import msgspec

REDACTED = "(redacted)"
MAX_DEPTH = 6
MAX_TEXT = 20_000
_SECRET_WORDS = (
    "token", "secret", "password", "passwd", "authorization", "passphrase", "credential", "cookie", "private_key",
    "api_key", "apikey", "account_key", "access_key", "master_key", "signature", "enrolment_code", "code_verifier",
)  # fmt: skip
_HARMLESS = frozenset({"token_url", "token_endpoint", "key_id", "token_type"})
_SHAPES = re.compile(
    r"(?P<scheme>\b(?:Bearer|Basic|SharedKey)\s+)[\w.~+/=:-]{6,}"
    r"|\bsat[a-z]_[\w-]{16,}"  # a device's token
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"  # a signed token (JWT)
    r"|(?P<user>://[^\s:/@]*:)[^\s@/]+(?=@)"  # a password in a URL
    r"|(?P<name>\b(?:password|passwd|pwd|client_secret|secret|code|code_verifier|access_token|refresh_token|id_token"
    r"|assertion|sig|AccountKey|SharedAccessSignature|\$?deltatoken|\$?skiptoken)['\"]?\s*[=:]\s*['\"]?)[^\s&;,'\"})]{3,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----",
    re.IGNORECASE | re.DOTALL,
)
_MIN_VALUE = 6
_values: set[str] = set()


def keep_secret(*values: str) -> None:
    """Never let these values pass, wherever they stand: what this process was given as secrets."""
    _values.update(value for value in values if len(value) >= _MIN_VALUE)


def redact_text(text: str) -> str:
    """The text without what looks like a secret or is one."""
    for value in _values:
        if value in text:
            text = text.replace(value, REDACTED)
    return _SHAPES.sub(_masked, text[:MAX_TEXT])


def redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The last processor before an event is written: fields at any depth, and the texts in them."""
    for key in list(event):
        if not key.startswith("_"):
            event[key] = redact(event[key], key)
    return event


def redact(value: object, name: str = "", depth: int = 0) -> Any:
    """A value as it may be written; `name` is the field it stands in."""
    if _is_secret(name) and value not in (None, "", True, False):
        return REDACTED
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return f"({len(value)} bytes)"
    if depth >= MAX_DEPTH:
        return REDACTED
    if isinstance(value, msgspec.Struct):
        return {field: redact(getattr(value, field), field, depth + 1) for field in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {str(key): redact(inner, str(key), depth + 1) for key, inner in value.items()}
    if isinstance(value, Sequence | Set):
        return [redact(inner, name, depth + 1) for inner in value]
    return redact_text(str(value))


def _is_secret(name: str) -> bool:
    lower = name.lower().replace("-", "_")
    return lower not in _HARMLESS and any(word in lower for word in _SECRET_WORDS)


def _masked(match: re.Match[str]) -> str:
    kept = match["scheme"] or match["user"] or match["name"] or ""
    return kept + REDACTED
