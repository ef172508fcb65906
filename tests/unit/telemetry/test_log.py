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


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_shows_no_local_variables_and_a_field_no_secret(form: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, form], capture_output=True, text=True, check=True, timeout=30)

    assert "told" in done.stderr
    assert "planted-secret" not in done.stderr.replace('password = "planted-secret"', "")
