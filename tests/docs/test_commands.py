"""Every command in the documents is one: the program knows it, with these options and no argument missing."""

from __future__ import annotations

import click
import pytest

from satchel.cli.main import satchel
from tests.support.pages import PAGES, Line, lines_of, mentions_of

LINES = [line for page in PAGES for line in lines_of(page)]
MENTIONS = [line for page in PAGES for line in mentions_of(page)]
OTHERS = {"make", "kubectl", "rsync", "ssh", "systemctl", "curl", "docker", "podman", "git", "cd", "python"}
"""Programs of a machine that are not ours."""


def resolve(words: list[str]) -> tuple[list[str], click.Command, list[str]]:
    """The command's own words, the command, its arguments. Errors: AssertionError - there is no such command."""
    command: click.Command = satchel
    context, named, rest = click.Context(satchel, info_name="satchel"), ["satchel"], words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest[0])
        assert found is not None, f"there is no `{' '.join([*named, rest[0]])}`"
        command, named, rest = found, [*named, rest[0]], rest[1:]
        context = click.Context(command, context, info_name=named[-1])
    return named, command, rest


def check(line: Line, *, is_whole: bool) -> None:
    """Options exist, choices and numbers are such; where the line is whole, nothing is missing or too much."""
    _, command, rest = resolve(line.words)
    context = click.Context(command)
    given, left, _ = command.make_parser(context).parse_args([word for word in rest if is_whole or word != "..."])
    assert not isinstance(command, click.Group) or not left
    if not is_whole or "--help" in rest:
        return
    assert not left, f"too much: {left}"
    for parameter in command.params:
        value = given.get(str(parameter.name))
        words = [each for each in (value if isinstance(value, list | tuple) else [value]) if isinstance(each, str)]
        assert words or not parameter.required, f"{parameter.name} is missing"
        if isinstance(parameter.type, click.Choice | click.types.IntParamType):
            for each in words:
                parameter.type.convert(each, parameter, context)


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.page}: {line.line}"[:100])
def test_a_line_is_a_command(line: Line) -> None:
    if line.words[0] == "satchel":
        check(line, is_whole=True)
    else:
        assert line.words[0] in OTHERS


@pytest.mark.parametrize("line", MENTIONS, ids=lambda line: f"{line.page}: {line.line}"[:100])
def test_a_command_in_a_sentence_is_one(line: Line) -> None:
    check(line, is_whole=False)


def test_a_line_that_is_none_is_found() -> None:
    for wrong in ("ogr list", "org lst", "org show", "org show a b", "org show a --wat", "edits show a b",
                  "edits list a --show never"):  # fmt: skip
        with pytest.raises((AssertionError, click.UsageError)):
            check(Line("x", f"satchel {wrong}"), is_whole=True)
