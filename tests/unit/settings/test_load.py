"""Settings: file < environment < flag; what is wrong is named with what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from satchel.errors import SettingInvalid, SettingUnknown
from satchel.settings.load import load


def test_flag_over_environment_over_file(tmp_path: Path) -> None:
    file = tmp_path / "satchel.toml"
    file.write_text("[sync]\nport = 1001\nhost = '0.0.0.0'\nrows_per_line = 5\n")

    settings = load(file, {"SATCHEL_SYNC__PORT": "1002", "SATCHEL_SYNC__ROWS_PER_LINE": "6"}, {"sync.port": "1003"})

    assert (settings.sync.host, settings.sync.rows_per_line, settings.sync.port) == ("0.0.0.0", 6, 1003)


def test_the_file_in_the_data_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "satchel.toml").write_text("[worker]\nconcurrency = 7\n")

    assert load(None, {"SATCHEL_DATA__FOLDER": str(tmp_path)}, {}).worker.concurrency == 7


def test_variables_of_single_commands_are_no_settings() -> None:
    load(None, {"SATCHEL_DEVICE_FOLDER": "/x", "SATCHEL_CONFIG": "/y"}, {})


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("SATCHEL_SYNC__PROT", "1", "Did you mean [sync] port (SATCHEL_SYNC__PORT)?"),
        ("SATCHEL_NOTHING__AT_ALL", "1", "There is no setting"),
    ],
)
def test_an_unknown_setting_names_the_nearest(variable: str, value: str, words: str) -> None:
    with pytest.raises(SettingUnknown) as caught:
        load(None, {variable: value}, {})
    assert words in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SATCHEL_SYNC__PORT", "99999"), ("SATCHEL_SYNC__PORT", "x"), ("SATCHEL_LOG__LEVEL", "loud"),
     ("SATCHEL_WORKER__CONCURRENCY", "0")],
)  # fmt: skip
def test_a_value_out_of_range_is_named(variable: str, value: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        load(None, {variable: value}, {})
    assert variable in str(caught.value)


def test_a_broken_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "satchel.toml"
    file.write_text("[sync\n")
    with pytest.raises(SettingInvalid, match="not valid TOML"):
        load(file, {}, {})
    file.write_text("port = 1\n")
    with pytest.raises(SettingUnknown, match="outside a section"):
        load(file, {}, {})
