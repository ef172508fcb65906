"""What the documents say is what the code does: settings, errors, commands, the glossary's words."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from satchel import errors
from satchel.cli.main import COMMANDS, satchel
from satchel.settings.reference import reference_page
from satchel.telemetry.metrics import reference_page as metrics_page

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
CLASSES = [
    value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.SatchelError)
]


def error_page() -> str:
    """docs/reference/errors.md as it should be."""
    lines = ["# Errors", "", "Each error has a stable code; commands print it, refusals of the endpoints carry it.", "",
             "| code | error | what it says | what to do |", "|---|---|---|---|"]  # fmt: skip
    for value in sorted(CLASSES, key=lambda one: one.code):
        said = (value.__doc__ or "").strip().splitlines()[0]
        lines.append(f"| {value.code} | {value.__name__} | {said} | {value.default_hint} |")
    return "\n".join([*lines, ""])


def test_the_settings_page_is_current() -> None:
    assert (ROOT / "docs/reference/settings.md").read_text() == reference_page(), (
        "run: .venv/bin/python -m satchel.settings.reference > docs/reference/settings.md"
    )


def test_the_errors_page_is_current() -> None:
    assert (ROOT / "docs/reference/errors.md").read_text() == error_page()


def test_every_code_is_one_error() -> None:
    codes = [value.code for value in CLASSES]
    assert len(codes) == len(set(codes))


def test_every_error_is_raised_somewhere() -> None:
    text = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py") if path.name != "errors.py")
    parents = {base for value in CLASSES for base in value.__mro__[1:]}
    unused = [
        value.__name__ for value in CLASSES if value not in parents and not re.search(rf"\b{value.__name__}\b", text)
    ]
    assert unused == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_documents_exist(page: Path) -> None:
    names = "up|run|org|profile|edits|device|sandbox|logs|trace|doctor"
    for words in re.findall(rf"satchel ((?:{names})(?: [a-z-]+)?)", page.read_text()):
        name, *rest = words.split(" ")
        assert name in COMMANDS
        command = satchel.get_command(click.Context(satchel), name)
        if rest and isinstance(command, click.Group) and not rest[0].startswith("-"):
            assert rest[0] in command.commands, f"{page.name}: satchel {words}"


@pytest.mark.parametrize("command", [[], *[[name] for name in COMMANDS], ["org", "add"], ["device", "enroll"]])
def test_help_teaches_without_starting_anything(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "satchel", *command, "--help"], capture_output=True, text=True, check=True, timeout=30
    )
    assert "Usage:" in done.stdout
    assert len(done.stdout.splitlines()) > 8


def test_the_tree_does_not_speak_of_where_it_was_made() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    # Written in pieces, so that this file does not contain what it looks for.
    words = re.compile("/" + "work/|pypi" + r"\.org|registry\.npm" + "js|TO" + "DO|FIX" + "ME")
    found = []
    for name in listed:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".txt", ".json", ".sql", ".cds", ".mjs"} and path.exists():
            found += [f"{name}: {match[0]}" for match in [words.search(path.read_text(errors="replace"))] if match]
    assert found == []


def test_the_metrics_page_is_current() -> None:
    assert (ROOT / "docs/reference/metrics.md").read_text() == metrics_page(), (
        "run: .venv/bin/python -m satchel.telemetry.metrics > docs/reference/metrics.md"
    )
