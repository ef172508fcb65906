"""Nothing secret passes into the logs."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys, structlog
from satchel.telemetry import log
log.configure("info", sys.argv[1], "test")
def fail():
    password = "planted-secret"
    raise ValueError("told")
try:
    fail()
except ValueError:
    structlog.get_logger().exception("it failed", token="planted-secret")
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
def test_a_traceback_shows_no_local_variables_and_a_field_no_secret(form: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, form], capture_output=True, text=True, check=True, timeout=30)

    assert "told" in done.stderr
    assert "planted-secret" not in done.stderr.replace('password = "planted-secret"', "")


@pytest.mark.parametrize("form", ["console", "json"])
def test_nested_fields_and_texts_show_no_secret(form: str) -> None:
    done = subprocess.run([sys.executable, "-c", NESTED, form], capture_output=True, text=True, check=True, timeout=30)

    assert done.stderr.count("(redacted)") >= 6
    assert "told" in done.stderr
    shown = "\n".join(line for line in done.stderr.splitlines() if "raise ValueError" not in line)
    assert "planted-secret" not in shown
