"""Keys, seals, tokens and certificates: what is altered, foreign or stale does not pass."""

from __future__ import annotations

import base64
import os
import ssl
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import keyring
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey
from keyring.backend import KeyringBackend

from satchel.errors import SealBroken, SealUnknownKey, SettingInvalid, TokenInvalid
from satchel.identity.certificates import ensure_server_certificate
from satchel.identity.keys import MasterKey
from satchel.identity.secrets import open_sealed, seal
from satchel.identity.sign_in import ANNOUNCE
from satchel.identity.tokens import (
    check_service_token,
    make_service_token,
    new_device_token,
    new_enrolment_code,
    token_hash,
)
from satchel.settings.load import load

KEY, OTHER = b"k" * 32, b"o" * 32
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def test_a_sealed_value_opens_with_its_key_and_purpose_only() -> None:
    sealed = seal(KEY, b"secret", b"purpose")

    assert open_sealed([KEY], sealed, b"purpose") == b"secret"
    assert b"secret" not in sealed
    with pytest.raises(SealBroken):
        open_sealed([KEY], sealed, b"another purpose")
    with pytest.raises(SealUnknownKey):
        open_sealed([OTHER], sealed, b"purpose")


@given(place=st.integers(0, 60), change=st.integers(1, 255))
def test_no_altered_byte_passes(place: int, change: int) -> None:
    sealed = bytearray(seal(KEY, b"a value of some length, say this", b"p"))
    sealed[place % len(sealed)] ^= change
    with pytest.raises((SealBroken, SealUnknownKey)):
        open_sealed([KEY], bytes(sealed), b"p")


def test_the_master_key_is_made_once_and_private(tmp_path: Path) -> None:
    settings = load(None, {"SATCHEL_DATA__FOLDER": str(tmp_path)}, {})

    first, second = MasterKey.load(settings), MasterKey.load(settings)

    assert first.derive("a") == second.derive("a") != first.derive("b")
    assert settings.master_key_file.stat().st_mode & 0o777 == 0o600
    assert repr(first) == "MasterKey()"


@pytest.mark.parametrize("text", ["short", base64.b64encode(b"x" * 31).decode()])
def test_a_master_key_of_another_length_is_refused(text: str) -> None:
    with pytest.raises(SettingInvalid):
        MasterKey.load(load(None, {"SATCHEL_SECRETS__KEY": text}, {}))


def text_of(*keys: bytes) -> str:
    return ",".join(base64.b64encode(key).decode() for key in keys)


def test_the_first_of_several_keys_seals_and_all_of_them_open() -> None:
    before = MasterKey.load(load(None, {"SATCHEL_SECRETS__KEY": text_of(KEY)}, {})).keys("p")
    after = MasterKey.load(load(None, {"SATCHEL_SECRETS__KEY": text_of(OTHER, KEY)}, {})).keys("p")

    assert open_sealed(after.all, seal(before.newest, b"old", b""), b"") == b"old"
    with pytest.raises(SealUnknownKey):
        open_sealed(before.all, seal(after.newest, b"new", b""), b"")
    token = make_service_token(before.newest, "worker", NOW)
    assert check_service_token(after.all, token, NOW).name == "worker"
    with pytest.raises(SettingInvalid):
        MasterKey.load(load(None, {"SATCHEL_SECRETS__KEY": text_of(KEY)}, {})).replace([OTHER])


def test_a_running_process_follows_the_key_file(tmp_path: Path) -> None:
    settings = load(None, {"SATCHEL_DATA__FOLDER": str(tmp_path)}, {})
    running = MasterKey.load(settings)
    keys, first = running.keys("p"), running.newest

    MasterKey.load(settings).replace([OTHER, first])
    assert running.current() == (OTHER, first)
    assert len(keys.all) == 2
    settings.master_key_file.write_text("damaged!")  # what runs goes on, what starts refuses
    assert running.current() == (OTHER, first)
    with pytest.raises(SettingInvalid):
        MasterKey.load(settings)
    MasterKey(KEY, file=settings.master_key_file).replace([KEY, OTHER, first])
    assert running.current() == (KEY, OTHER, first)
    settings.master_key_file.unlink()  # a folder that is not there just now stops nobody
    assert running.current() == (KEY, OTHER, first)


def test_a_key_outlives_a_power_cut_before_anything_is_sealed_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[bool] = []

    def watched(descriptor: int, fsync: Callable[[int], None] = os.fsync) -> None:
        kept.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    made = MasterKey.load(load(None, {"SATCHEL_DATA__FOLDER": str(tmp_path)}, {}))
    assert kept[-1]  # the name stands as well
    kept.clear()
    made.replace([OTHER, made.newest])
    assert kept == [False, True]  # content, then name


class Keyring(KeyringBackend):
    """One that keeps what it is given, for as long as the test runs."""

    priority = -1  # type: ignore[assignment]  # never chosen by itself

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


def test_the_systems_keyring_keeps_the_keys(tmp_path: Path) -> None:
    environment = {"SATCHEL_DATA__FOLDER": str(tmp_path), "SATCHEL_SECRETS__KEYRING": "true"}
    settings, before = load(None, environment, {}), keyring.get_keyring()
    keyring.set_keyring(Keyring())
    try:
        first = MasterKey.load(settings)
        first.replace([OTHER, first.newest])
        assert MasterKey.load(settings).current() == first.current()
        assert not settings.master_key_file.exists()
    finally:
        keyring.set_keyring(before)


def test_a_service_token_passes_for_a_short_while() -> None:
    token = make_service_token(KEY, "worker", NOW)

    caller = check_service_token([OTHER, KEY], token, NOW + timedelta(minutes=4))
    assert (caller.name, caller.permissions) == ("worker", {ANNOUNCE})
    with pytest.raises(TokenInvalid):
        check_service_token([OTHER, KEY], token, NOW + timedelta(minutes=10))
    with pytest.raises(TokenInvalid):
        check_service_token([OTHER], token, NOW)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "satchel", "aud": "another", "sub": "x"},
        {"iss": "another", "aud": "satchel-management", "sub": "x"},
        {"iss": "satchel", "aud": "satchel-management"},
    ],
)
def test_a_token_for_something_else_does_not_pass(claims: dict[str, str]) -> None:
    stamped = {**claims, "exp": int(NOW.timestamp()) + 60}
    token = jwt.encode({"alg": "HS256"}, stamped, OctKey.import_key(KEY))
    with pytest.raises(TokenInvalid):
        check_service_token([OTHER, KEY], token, NOW)


@pytest.mark.parametrize("token", ["", "a.b.c", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.", "satd_abc", "x" * 4000])
def test_what_is_no_service_token_does_not_pass(token: str) -> None:
    with pytest.raises(TokenInvalid):
        check_service_token([OTHER, KEY], token, NOW)


def test_random_tokens_differ_and_codes_can_be_read_out() -> None:
    assert len({new_device_token() for _ in range(50)}) == 50
    code = new_enrolment_code()
    assert len(code) == 24
    assert token_hash(code) == token_hash(f" {code}\n")


def test_the_development_certificate_is_kept_renewed_and_verified(tmp_path: Path) -> None:
    first = ensure_server_certificate(tmp_path, [])
    again = ensure_server_certificate(tmp_path, [])
    other = ensure_server_certificate(tmp_path, ["sync.example"])

    assert first == again
    assert other.ca_fingerprint == first.ca_fingerprint
    assert b"PRIVATE KEY" in other.key_file.read_bytes()
    assert other.key_file.stat().st_mode & 0o777 == 0o600
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(other.cert_file, other.key_file)
    assert other.ca_file is not None
    ssl.create_default_context(cafile=str(other.ca_file))
