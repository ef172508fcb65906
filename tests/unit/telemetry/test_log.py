"""Nothing secret passes into the logs."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from satchel.telemetry.redact import REDACTED, keep_secret, redact, redact_text

PROGRAM = """
import logging, sys, msgspec, structlog
from satchel.telemetry import log
from satchel.telemetry.redact import keep_secret
class Connection(msgspec.Struct):
    url: str
    client_secret: str
keep_secret("planted-secret-by-value")
log.configure("info", sys.argv[1], "test")
def fail():
    password = "planted-secret-in-locals"
    raise ValueError("told: planted-secret-by-value, Bearer planted-secret-bearer")
try:
    fail()
except ValueError:
    structlog.get_logger().exception(
        "it failed",
        token="planted-secret",
        connection=Connection("postgresql://u:planted-secret-url@h/d", "planted-secret-field"),
        nested={"a": [{"Authorization": "planted-secret-nested"}], "headers": [("x", "Bearer planted-secret-tuple")]},
    )
    logging.getLogger("library").exception("sent %s", "client_secret=planted-secret-form&x=1")
"""

NESTED = """
import logging, sys, structlog
from satchel.telemetry import log
log.configure("info", sys.argv[1], "test")
shown = structlog.get_logger()
shown.info("sent", request={"headers": [{"Authorization": "planted-secret"}], "tokens": ["planted-secret"]}, rows=3)
shown.info("signing in with password=planted-secret at postgresql://me:planted-secret@host/db")
logging.getLogger("library").warning("asked %s", "Authorization: Bearer planted-secret")
logging.getLogger("library").warning("answer: %s", {"client_secret": "planted-secret", "kept": "this is told"})
try:
    raise ValueError("no answer for https://host/token?client_secret=planted-secret&scope=told")
except ValueError:
    shown.exception("it failed")
"""


@pytest.mark.parametrize("form", ["console", "json"])
def test_no_secret_passes_by_field_by_depth_by_text_or_by_traceback(form: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, form], capture_output=True, text=True, check=True, timeout=30)

    assert done.stderr.count("ValueError") == 2
    assert "postgresql://u:" in done.stderr
    assert "planted-secret" not in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdefPLANTED123",
        "satd_PLANTEDPLANTEDPLANTED",
        "token eyJhbGciOiJIUzI1NiJ9.eyJQTEFOVEVEIjoxfQ.PLANTED",
        "postgresql://satchel:PLANTED@host:5432/db",
        "https://login/x?client_secret=PLANTED&x=1",
        "https://crm/api?$deltatoken=PLANTED!11",
        "link https://localhost#org=a&code=PLAN-TED1-PLANTED",
        '{"password": "PLANTED-1"}',
        "-----BEGIN PRIVATE KEY-----\nPLANTED\n-----END PRIVATE KEY-----",
    ],
)
def test_what_looks_like_a_secret_is_masked_wherever_it_stands(text: str) -> None:
    assert "PLANTED" not in redact_text(text)
    assert REDACTED in redact_text(text)


def test_what_is_no_secret_stays() -> None:
    for text in ("pulled 300 rows [E301]", "organization contoso, entity contact", "https://crm.example/api/data"):
        assert redact_text(text) == text
    assert redact({"token_url": "https://login", "rows": 3, "ok": True}) == {
        "token_url": "https://login", "rows": 3, "ok": True
    }  # fmt: skip


def test_values_that_are_kept_secret_pass_nowhere() -> None:
    keep_secret("a-very-planted-value")

    assert "planted" not in str(redact({"note": ["x", msgspec.json.encode("y"), {"n": "has a-very-planted-value"}]}))


def test_depth_is_bounded() -> None:
    value: dict[str, object] = {}
    value["self"] = value

    assert REDACTED in str(redact(value))


@pytest.mark.parametrize("form", ["console", "json"])
def test_nested_fields_and_texts_show_no_secret(form: str) -> None:
    done = subprocess.run([sys.executable, "-c", NESTED, form], capture_output=True, text=True, check=True, timeout=30)

    assert done.stderr.count("(redacted)") >= 6
    assert "told" in done.stderr
    shown = "\n".join(line for line in done.stderr.splitlines() if "raise ValueError" not in line)
    assert "planted-secret" not in shown
