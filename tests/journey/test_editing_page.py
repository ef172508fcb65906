"""The page for developers who edit rows: its examples run, in their order, on a device of a real organization."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from satchel.device import Device
from tests.support.processes import Sandbox, Satchel

PAGE = (Path(__file__).resolve().parents[2] / "docs/how-to/change-rows-in-an-app.md").read_text()
SECTIONS = {
    text.partition("\n")[0]: re.findall(r"```python\n(.*?)```", text, re.DOTALL) for text in PAGE.split("\n## ")
}


def test_the_examples_do_what_the_page_says(
    running: Satchel,
    source: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SATCHEL_DEVICE_FOLDER", str(tmp_path / "device"))
    Device.enroll(running.invite(source.users[0]["id"]), is_encrypted=False).close()
    names: dict[str, Any] = {}
    said: dict[str, str] = {}
    for heading, examples in SECTIONS.items():
        if heading.startswith("Ask the user"):
            source.send("PATCH", f"contacts({names['contact']})", json={"jobtitle": "theirs"})
        for example in examples:
            exec(compile(example, heading, "exec"), names)  # noqa: S102 - the page's own text
        said[heading] = capsys.readouterr().out
    assert said["Make and change rows"] == "Chief\n"
    assert said["Tell the user at once what does not fit"] == "contact.creditlimit: it takes a decimal number.\n"
    assert names["limit"] > 0
    assert names["choices"]
    assert "2 {'accepted': 2}" in said["Hand it over"]
    assert "2 of 2" in said["Hand it over"]
    assert "jobtitle was Chief mine President theirs theirs" in said["Ask the user where others changed the same"]
    assert said["Show what came home, and let nothing get lost"] == "{}\n"
    assert source.send("GET", f"contacts({names['contact']})").json()["jobtitle"] == "President"
