"""What people wrote is printed as what it is: it steers no terminal and is no markup."""

from __future__ import annotations

import pytest

from satchel.cli.output import console, print_error, print_rows, shown

HOSTILE = "a\x1b[2Jb\x9b1mc\rd\u202egpj.exe [bold]e[/bold]"
SHOWN = r"a\u001b[2Jb\u009b1mc\u000dd\u202egpj.exe [bold]e[/bold]"


def test_values_in_tables_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([{"value": HOSTILE}])
    assert SHOWN in capsys.readouterr().out.replace("\n", "")


def test_values_in_lines_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console.print(shown(HOSTILE))
    print_error(HOSTILE, hint=HOSTILE)
    captured = capsys.readouterr()
    assert SHOWN in captured.out.replace("\n", "")
    assert captured.err == f"Error: {SHOWN}\nTry: {SHOWN}\n"
