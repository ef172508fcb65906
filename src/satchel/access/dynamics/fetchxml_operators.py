"""The operators of FetchXML conditions as filter text.

Source: Microsoft Learn, "condition operator values" (power-apps/developer/data-platform/fetchxml/reference/operators).
FetchXML compares as SQL does: a row whose value is null meets no condition but `null`, not even a negative one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from satchel.access.dynamics.fetchxml_hints import hint_for
from satchel.access.dynamics.fetchxml_tree import refused
from satchel.access.dynamics.fetchxml_values import NOTE_UTC, TEXTS, Notes, day, literal, midnight, next_day, quoted
from satchel.model.metadata import AttributeType

MAX_VALUES = 2_000
MAX_PERIODS = 100_000

_DATES = {AttributeType.DATE, AttributeType.DATETIME}

NOTE_MONTH = "A month is taken as 30 days."
NOTE_ROLLING = (
    "Periods are counted back or ahead from the present moment; Dataverse rounds them to whole days or hours."
)
NOTE_REPORTS_TEAMS = (
    "eq-useroruserhierarchyandteams: rows of the user, of the users below and of the user's own teams; "
    "those of the teams of the users below are not taken along."
)


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: `path` is the attribute as the filter names it."""

    path: str
    operator: str
    values: tuple[str, ...]
    kind: AttributeType | None
    line: int
    note: Notes

    def refuse(self, message: str, hint: str = "") -> NoReturn:
        """Give up on it, naming the operator."""
        raise refused(self.line, f"the operator {self.operator!r} on {self.path!r} {message}", hint)

    def one(self) -> str:
        """The only value."""
        if len(self.values) != 1:
            self.refuse(f"needs one value and has {len(self.values)}.")
        return self.values[0]

    def only_for(self, kinds: set[AttributeType], what: str) -> None:
        """Refuse a column that is known to be something else."""
        if self.kind is not None and self.kind not in kinds:
            self.refuse(f"needs {what}, and the column is of the kind {self.kind.value!r}.")

    def none(self) -> None:
        """Refuse values."""
        if any(self.values):
            self.refuse("takes no value.", 'Leave value="..." out.')


def condition_text(condition: Condition) -> str:
    """The condition as one operand of `and` and `or`. Errors: ProfileInvalid naming the operator and what to do."""
    write = _OPERATORS.get(condition.operator)
    if write is not None:
        return write(condition)
    return condition.refuse("cannot be carried over.", hint_for(condition.operator))


def _compared(operator: str) -> Callable[[Condition], str]:
    def write(c: Condition) -> str:
        value = literal(c.one(), c.kind, c.line, c.note)
        return _not_null(c, f"{c.path} ne {value}") if operator == "ne" else f"{c.path} {operator} {value}"

    return write


def _not_null(c: Condition, text: str) -> str:
    """A negative condition: rows without a value do not meet it either."""
    return f"({text} and {c.path} ne null)"


def _in(c: Condition) -> str:
    if not c.values:
        c.refuse("has no values.", "Put each one in a <value> element.")
    if len(c.values) > MAX_VALUES:
        c.refuse(f"has more than {MAX_VALUES:,} values.")
    literals = [literal(value, c.kind, c.line, c.note) for value in c.values]
    if c.kind is None and any(text.startswith("'") for text in literals):  # one text among them: all are texts
        literals = [quoted(value) for value in c.values]
    return f"{c.path} in ({','.join(literals)})"


def _not_in(c: Condition) -> str:
    return _not_null(c, f"not ({_in(c)})")


def _null(c: Condition) -> str:
    c.none()
    return f"{c.path} eq null"


def _has_value(c: Condition) -> str:
    c.none()
    return f"{c.path} ne null"


def _like(c: Condition) -> str:
    pattern = c.one()
    text = pattern.strip("%")
    if not text:
        return f"{c.path} ne null" if pattern else f"{c.path} eq ''"  # % alone: any text
    _plain(c, text)
    match pattern.startswith("%"), pattern.endswith("%"):
        case True, True:
            return f"contains({c.path},{quoted(text)})"
        case True, False:
            return f"endswith({c.path},{quoted(text)})"
        case False, True:
            return f"startswith({c.path},{quoted(text)})"
        case _:
            return f"{c.path} eq {quoted(text)}"


def _not_like(c: Condition) -> str:
    pattern = c.one()
    if pattern and not pattern.strip("%"):
        c.refuse("matches no row at all.", "Take the condition out.")
    if "%" in pattern:
        return _not_null(c, f"not {_like(c)}")
    return _not_null(c, f"{c.path} ne {quoted(_plain(c, pattern))}")


def _function(name: str, *, negative: bool = False) -> Callable[[Condition], str]:
    def write(c: Condition) -> str:
        text = f"{name}({c.path},{quoted(_plain(c, c.one()))})"
        return _not_null(c, f"not {text}") if negative else text

    return write


def _plain(c: Condition, text: str) -> str:
    """Text without the wildcards of LIKE (Microsoft Learn, "wildcard characters in conditions for string values")."""
    if any(character in text for character in "%_["):
        c.refuse(
            f"has a wildcard within {text!r}.",
            "Only % at the beginning or the end is carried over. If %, _ or [ stand for themselves, write the filter "
            "by hand: contains, startswith and endswith take every character as it is.",
        )
    c.only_for(TEXTS, "a text column")
    return text


def _user(template: str, note: str = "") -> Callable[[Condition], str]:
    def write(c: Condition) -> str:
        c.none()
        c.only_for({AttributeType.GUID}, "a lookup or an id")
        if note:
            c.note(note)
        return template.replace("{}", c.path)

    return write


def _relative(unit: str, template: str) -> Callable[[Condition], str]:
    """A period before or after the present moment."""

    def write(c: Condition) -> str:
        value = c.one().strip()
        if not (value.isascii() and value.isdigit() and len(value) <= 6 and 0 < int(value) <= MAX_PERIODS):
            c.refuse(f"needs a whole number from 1 to {MAX_PERIODS:,}.")
        c.only_for(_DATES, "a date")
        number = int(value)
        c.note(NOTE_ROLLING)
        if unit == "months":
            c.note(NOTE_MONTH)
        days = {"days": 1, "weeks": 7, "months": 30}.get(unit)
        period = f"P{number * days}D" if days else f"PT{number}{unit[0].upper()}"
        return template.replace("{}", c.path).replace("PERIOD", f"duration'{period}'")

    return write


def _on_or_after(c: Condition) -> str:
    c.only_for(_DATES, "a date")
    at = day(c.one(), c.line)
    if c.kind is not AttributeType.DATE:
        c.note(NOTE_UTC)
    return f"{c.path} ge {midnight(at, c.kind)}"


def _on_or_before(c: Condition) -> str:
    c.only_for(_DATES, "a date")
    at = day(c.one(), c.line)
    if c.kind is AttributeType.DATE:
        return f"{c.path} le {at.isoformat()}"
    c.note(NOTE_UTC)
    return f"{c.path} lt {midnight(next_day(at, c.line), c.kind)}"


_LAST = "({} ge now() sub PERIOD and {} le now())"
_NEXT = "({} ge now() and {} le now() add PERIOD)"
_OLDER = "{} lt now() sub PERIOD"

_OPERATORS: Mapping[str, Callable[[Condition], str]] = {
    **{name: _compared(name) for name in ("eq", "ne", "gt", "ge", "lt", "le")},
    "in": _in,
    "not-in": _not_in,
    "null": _null,
    "not-null": _has_value,
    "like": _like,
    "not-like": _not_like,
    "begins-with": _function("startswith"),
    "not-begin-with": _function("startswith", negative=True),
    "ends-with": _function("endswith"),
    "not-end-with": _function("endswith", negative=True),
    "eq-userid": _user("{} eq @me"),
    "ne-userid": _user("({} ne @me and {} ne null)"),
    "eq-userteams": _user("{} in @my.teams"),
    "eq-useroruserteams": _user("({} eq @me or {} in @my.teams)"),
    "eq-useroruserhierarchy": _user("({} eq @me or {} in @my.reports)"),
    "eq-useroruserhierarchyandteams": _user("({} eq @me or {} in @my.reports or {} in @my.teams)", NOTE_REPORTS_TEAMS),
    "eq-businessid": _user("{} eq @my.unit"),
    "ne-businessid": _user("({} ne @my.unit and {} ne null)"),
    **{f"last-x-{unit}": _relative(unit, _LAST) for unit in ("hours", "days", "weeks", "months")},
    **{f"next-x-{unit}": _relative(unit, _NEXT) for unit in ("hours", "days", "weeks", "months")},
    **{
        f"{older}-x-{unit}": _relative(unit, _OLDER)
        for older in ("older", "olderthan")
        for unit in ("minutes", "hours", "days", "weeks", "months")
    },
    "on-or-after": _on_or_after,
    "on-or-before": _on_or_before,
}
