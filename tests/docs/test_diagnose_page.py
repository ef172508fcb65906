"""The commands of docs/how-to/diagnose.md run as they stand there, also while nothing else is up."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "diagnose.md"
BLOCKS = re.findall(r"```\n(.*?)```", PAGE.read_text(), re.DOTALL)
COMMANDS = [
    re.split(r"\s{3,}", line)[0] for block in BLOCKS for line in block.splitlines() if line.startswith("satchel ")
]


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) == 7


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(command: str, tmp_path: Path) -> None:
    words = shlex.split(command)
    environment = {**os.environ, "SATCHEL_DATA__FOLDER": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "satchel", *words[1:]], env=environment, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip

    # Nothing is up here, and the doctor says so.
    assert done.returncode == (1 if words[1] == "doctor" else 0), done.stderr
    assert "Traceback" not in done.stderr
    if words[1] == "doctor":
        assert "satchel up" in done.stdout
