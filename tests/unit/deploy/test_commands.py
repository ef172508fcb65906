"""`satchel deploy` as an administrator meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from satchel.cli.main import main
from tests.unit.deploy.conftest import EXAMPLE


def run(*arguments: str | Path) -> int:
    """Exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        main(["deploy", *(str(word) for word in arguments)])
    return int(str(ended.value.code))


def test_check_of_the_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", EXAMPLE) == 0
    assert "nothing is wrong" in capsys.readouterr().out
    assert run("check", EXAMPLE, "--json") == 0
    flows = json.loads(capsys.readouterr().out)
    assert {"origin": "lb1", "target": "sync1", "protocol": "tcp", "port": 8443, "why": "syncs are passed on"} in flows


def test_check_names_all_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "t.toml"
    file.write_text(EXAMPLE.read_text().replace('"10.77.2.12"', '"10.77.2.11"').replace('["dns"]', '["worker"]'))
    assert run("check", file) == 2
    said = capsys.readouterr().err
    assert "share the address 10.77.2.11" in said
    assert "No host has the role 'dns'" in said


def test_check_looks_up_names_outside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "t.toml"
    file.write_text(EXAMPLE.read_text().replace("contoso.crm.dynamics.com", "nowhere.invalid"))
    assert run("check", file, "--resolve") == 2
    assert "nowhere.invalid has no address here" in capsys.readouterr().err


def test_rendering_again_takes_away_what_is_no_longer_rendered_and_nothing_else(tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / "t.toml"
    file.write_text(EXAMPLE.read_text())
    assert run("render", file, "--out", out) == 0
    front, own = out / "hosts/sync1/etc/satchel/front.cfg", out / "notes.txt"
    before = (out / "hosts/lb1/etc/satchel/balancer.cfg").stat().st_mtime_ns
    own.write_text("mine")
    assert front.exists()
    assert run("render", file, "--out", out) == 0
    assert (out / "hosts/lb1/etc/satchel/balancer.cfg").stat().st_mtime_ns == before, "the same bytes are left alone"
    file.write_text(EXAMPLE.read_text() + "[balancer]\nclient_addresses = false\n")
    assert run("render", file, "--out", out) == 0
    assert not front.exists()
    assert own.read_text() == "mine"


def test_a_folder_with_other_files_is_not_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("x")
    assert run("render", EXAMPLE, "--out", tmp_path) == 2
    assert "has other files in it" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
