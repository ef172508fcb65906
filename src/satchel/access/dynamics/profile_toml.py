"""A profile file as text. Source: TOML 1.0, basic strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Value = str | int | Sequence[str]

_SHORT = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_LINE = 110


def profile_toml(
    name: str, comment: str, assigned: Mapping[str, Sequence[str]], entities: Sequence[Mapping[str, Value]]
) -> str:
    """Write the file; keys without a value are left out. The comment stands at its head, a # before each line."""
    lines = [f"# {line.strip()}".rstrip() for line in _printable(comment).splitlines()]
    lines.append(f"name = {_string(name)}")
    if any(assigned.values()):
        lines += ["", "[assigned]", *_pairs(assigned)]
    for entity in entities:
        lines += ["", "[[entity]]", *_pairs(entity)]
    return "\n".join(lines) + "\n"


def _pairs(table: Mapping[str, Value]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in table.items() if value != "" and (value or key == "rows")]


def _value(value: Value) -> str:
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _string(value)
    strings = [_string(text) for text in value]
    line = f"[{', '.join(strings)}]"
    return line if len(line) <= _LINE else "[\n" + "".join(f"    {text},\n" for text in strings) + "]"


def _string(text: str) -> str:
    return '"' + "".join(_character(c) for c in text) + '"'


def _character(c: str) -> str:
    if c in _SHORT:
        return _SHORT[c]
    if "\ud800" <= c <= "\udfff":  # half of a pair: TOML has no text for it
        return "\ufffd"
    return f"\\u{ord(c):04x}" if c < " " or c == "\x7f" else c


def _printable(text: str) -> str:
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c if c >= " " and c != "\x7f" else "\n" for c in text)
