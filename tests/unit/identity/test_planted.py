"""The search for secrets finds them: in logs, in compressed objects, in process lists."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from satchel.identity.tokens import new_device_token
from tests.support import planted
from tests.support.processes import wait_for

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm4iLCJhdWQiOiJ4In0.c2lnbmF0dXJlLW9mLXRoZS1pc3N1ZXI"


def test_secrets_are_made_with_the_mark_and_no_two_are_alike() -> None:
    assert planted.MARK in planted.new_secret() != planted.new_secret()


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress], ids=["plain", "gzip", "zstd"]
)
@pytest.mark.parametrize("secret", [planted.new_secret(), new_device_token(), JWT], ids=["planted", "device", "issuer"])
def test_a_secret_in_a_file_is_found(tmp_path: Path, secret: str, pack: Callable[[bytes], bytes]) -> None:
    file = tmp_path / "log"
    file.write_bytes(pack(b"a line\nasked with " + secret.encode() + b" for rows\nanother"))
    harmless = tmp_path / "harmless"
    harmless.write_bytes(pack(b"satd_short eyJ.. a line"))

    assert len(planted.secrets_in(file)) == 1
    assert planted.secrets_in(harmless) == []


def test_a_secret_among_the_arguments_of_a_process_is_found() -> None:
    command = [sys.executable, "-c", "input()", planted.new_secret()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            # Right after its start a process may have no arguments yet.
            wait_for(lambda: any("input()" in each for each in planted.processes_with_secrets()), "it to be found", 10)
        finally:
            process.kill()
