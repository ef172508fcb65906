"""The text of a custom filter becomes a syntax tree: OData's `$filter` language with the user's context.

Source: OData 4.01, part 2 (URL conventions), section 5.1.1, and its ABNF. Added: `@me`, `@my.name`, and `entity.lookup`
for the rows of another entity whose lookup points here. Everything is bounded; every node knows its place in the text.
"""

from __future__ import annotations

import re
from typing import Union

import msgspec

from satchel.errors import ProfileInvalid

MAX_CHARACTERS = 100_000
MAX_TOKENS = 10_000
MAX_DEPTH = 40
MAX_LIST = 2_000
MAX_DIGITS = 100
MAX_OFFSET_SECONDS = 36_525 * 86_400

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<string>'(?:[^']|'')*')
    |(?P<duration>duration'-?P(?:\d+D)?(?:T(?:\d+H)?(?:\d+M)?(?:\d+S)?)?')
    |(?P<guid>[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}(?![\w-]))
    |(?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,7})?)?(?:Z|[+-]\d\d:\d\d))
    |(?P<date>\d{4}-\d\d-\d\d(?![\w-]))
    |(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w]))
    |(?P<parameter>@\w+(?:\.\w+)?)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<mark>[(),/:.])""",
    re.VERBOSE | re.ASCII,
)
_COMPARISONS = frozenset({"eq", "ne", "gt", "ge", "lt", "le"})
_TEXT_FUNCTIONS = frozenset({"contains", "startswith", "endswith"})
_DURATION = re.compile(r"duration'(-)?P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?'")
_UNSUPPORTED = {
    "all": "Only any() can be used on related rows.",
    "has": "Compare the value itself: `eq` or `in`.",
    "mod": "Arithmetic is not supported but on now().",
    "div": "Arithmetic is not supported but on now().",
    "mul": "Arithmetic is not supported but on now().",
    "tolower": "Text is compared as the source compares it; leave tolower() out.",
    "toupper": "Text is compared as the source compares it; leave toupper() out.",
}


class Path(msgspec.Struct, frozen=True):
    """Names joined by `/`; each is an attribute, or entity.lookup."""

    names: tuple[str, ...]
    at: int


class Literal(msgspec.Struct, frozen=True):
    """A fixed value."""

    kind: str
    """`string`, `number`, `guid`, `date`, `datetime`, `boolean` or `null`."""
    text: str
    at: int


class Parameter(msgspec.Struct, frozen=True):
    """`@me` is `id`, `@my.x` is `x`."""

    name: str
    at: int


class Now(msgspec.Struct, frozen=True):
    """The present time plus so many seconds."""

    offset_seconds: int
    at: int


Operand = Union[Path, Literal, Parameter, Now]  # noqa: UP007 - a name at run time


class Compared(msgspec.Struct, frozen=True):
    """Two operands and what is between them; `in` has several on its right."""

    operator: str
    left: Operand
    right: tuple[Operand, ...]
    at: int


class Any(msgspec.Struct, frozen=True):
    """`path/any(x: term)`; without a term any row will do."""

    path: Path
    variable: str
    term: Syntax | None
    at: int


class Joined(msgspec.Struct, frozen=True):
    """`and` / `or` of two or more."""

    operator: str
    terms: tuple[Syntax, ...]


class Negated(msgspec.Struct, frozen=True):
    """`not`."""

    term: Syntax


Syntax = Union[Compared, Any, Joined, Negated]  # noqa: UP007 - a name at run time


def parse_filter(text: str) -> Syntax:
    """Read a filter. Errors: ProfileInvalid with the place and what would be right."""
    if len(text) > MAX_CHARACTERS:
        raise ProfileInvalid(f"The filter is longer than {MAX_CHARACTERS:,} characters.")
    return _Parser(text).parse()


def refusal(text: str, at: int, problem: str, hint: str | None = None) -> ProfileInvalid:
    """What is wrong with a filter, and where."""
    around = text[max(0, at - 20) : at + 30].replace("\n", " ")
    place = f"position {at + 1}, near {around!r}" if at < len(text) else "its end"
    return ProfileInvalid(f"The filter cannot be used: {problem} ({place}).", hint=hint or "")


class _Token(msgspec.Struct, frozen=True):
    kind: str
    text: str
    at: int


class _Parser:
    """Recursive descent, one token ahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._scan()
        self._place = 0
        self._depth = 0

    def parse(self) -> Syntax:
        term = self._or()
        if self._next.kind != "end":
            raise self._refusal(f"{self._next.text!r} was not expected here", hint=_UNSUPPORTED.get(self._next.text))
        return term

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place]

    def _take(self) -> _Token:
        token = self._next
        self._place += token.kind != "end"
        return token

    def _is(self, *texts: str) -> bool:
        return self._next.kind in {"name", "mark"} and self._next.text in texts

    def _expect(self, text: str) -> None:
        if not self._is(text):
            raise self._refusal(f"{text!r} is missing")
        self._take()

    def _refusal(self, problem: str, at: int | None = None, hint: str | None = None) -> ProfileInvalid:
        return refusal(self._text, self._next.at if at is None else at, problem, hint)

    def _scan(self) -> list[_Token]:
        tokens: list[_Token] = []
        at = 0
        while at < len(self._text):
            match = _TOKEN.match(self._text, at)
            if match is None:
                hint = "Text stands in single quotes: 'Contoso'." if self._text[at] in "'\"" else None
                raise refusal(self._text, at, f"{self._text[at]!r} is not part of the language", hint)
            if match.lastgroup in {"number", "duration"} and len(match[0]) > MAX_DIGITS:
                raise refusal(self._text, at, "the number is too long")
            if match.lastgroup == "string" and any(ord(character) < 32 for character in match[0]):
                raise refusal(self._text, at, "a text holds control characters")
            if match.lastgroup != "space":
                tokens.append(_Token(str(match.lastgroup), match[0], at))
            if len(tokens) > MAX_TOKENS:
                raise refusal(self._text, at, f"it has more than {MAX_TOKENS:,} words")
            at = match.end()
        return [*tokens, _Token("end", "", len(self._text))]

    def _or(self) -> Syntax:
        return self._joined("or", self._and)

    def _and(self) -> Syntax:
        return self._joined("and", self._not)

    def _joined(self, operator: str, below: object) -> Syntax:
        assert callable(below)  # noqa: S101 - one of the two methods above
        terms: list[Syntax] = [below()]
        while self._is(operator):
            self._take()
            terms.append(below())
        return terms[0] if len(terms) == 1 else Joined(operator, tuple(terms))

    def _not(self) -> Syntax:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._refusal(f"it is nested more than {MAX_DEPTH} deep")
        try:
            if self._is("not"):
                self._take()
                return Negated(self._not())
            if self._is("("):
                self._take()
                term = self._or()
                self._expect(")")
                return term
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Syntax:
        at = self._next.at
        if self._next.kind == "name" and self._next.text in _TEXT_FUNCTIONS and self._after("("):
            return self._text_function()
        left = self._operand()
        if isinstance(left, Path) and self._is("("):
            return self._any(left)
        if self._is("in"):
            self._take()
            return Compared("in", left, self._list(), at)
        if self._next.kind == "name" and self._next.text in _COMPARISONS:
            operator = self._take().text
            return Compared(operator, left, (self._operand(),), at)
        if isinstance(left, Path):
            return Compared("eq", left, (Literal("boolean", "true", at),), at)
        word = self._next.text
        raise self._refusal("a comparison is missing", hint=_UNSUPPORTED.get(word, "Use eq, ne, gt, ge, lt, le or in."))

    def _after(self, text: str) -> bool:
        return self._tokens[self._place + 1].text == text

    def _text_function(self) -> Syntax:
        name = self._take()
        self._expect("(")
        left = self._operand()
        self._expect(",")
        right = self._operand()
        self._expect(")")
        return Compared(name.text, left, (right,), name.at)

    def _any(self, path: Path) -> Syntax:
        *before, function = path.names
        if function != "any" or not before:
            raise self._refusal(f"there is no function {function}()", path.at, _UNSUPPORTED.get(function))
        self._take()
        if self._is(")"):
            self._take()
            return Any(Path(tuple(before), path.at), "", None, path.at)
        if self._next.kind != "name":
            raise self._refusal("a name for the related row is missing", hint="Write any(r: r/statecode eq 0).")
        variable = self._take().text
        self._expect(":")
        term = self._or()
        self._expect(")")
        return Any(Path(tuple(before), path.at), variable, term, path.at)

    def _list(self) -> tuple[Operand, ...]:
        if self._next.kind == "parameter":
            return (self._operand(),)
        self._expect("(")
        items = [self._operand()]
        while self._is(","):
            self._take()
            items.append(self._operand())
            if len(items) > MAX_LIST:
                raise self._refusal(f"a list has more than {MAX_LIST} values")
        self._expect(")")
        return tuple(items)

    def _operand(self) -> Operand:
        token = self._take()
        match token.kind:
            case "string":
                return Literal("string", token.text[1:-1].replace("''", "'"), token.at)
            case "number" | "guid" | "date" | "datetime":
                return Literal(token.kind, token.text, token.at)
            case "parameter":
                return self._parameter(token)
            case "name":
                return self._named(token)
        hint = "A duration stands only behind now() add / now() sub." if token.kind == "duration" else None
        raise self._refusal("a value or an attribute is missing", token.at, hint)

    def _parameter(self, token: _Token) -> Parameter:
        if token.text == "@me":
            return Parameter("id", token.at)
        if token.text.startswith("@my."):
            return Parameter(token.text.removeprefix("@my."), token.at)
        raise self._refusal(
            f"{token.text} is not known", token.at, "There are @me and @my.unit, @my.teams, @my.<attribute>."
        )

    def _named(self, token: _Token) -> Operand:
        if token.text in {"true", "false", "null"}:
            kind = "null" if token.text == "null" else "boolean"
            return Literal(kind, token.text, token.at)
        if token.text == "now" and self._is("("):
            return self._now(token)
        names = [self._qualified(token)]
        while self._is("/"):
            self._take()
            if self._next.kind != "name":
                raise self._refusal("an attribute is missing behind '/'")
            names.append(self._qualified(self._take()))
        return Path(tuple(names), token.at)

    def _qualified(self, token: _Token) -> str:
        if not self._is("."):
            return token.text
        self._take()
        if self._next.kind != "name":
            raise self._refusal(
                "a lookup is missing behind '.'", hint="Write entity.lookup, such as incident.customerid."
            )
        return f"{token.text}.{self._take().text}"

    def _now(self, token: _Token) -> Now:
        self._expect("(")
        self._expect(")")
        offset = 0
        while self._is("add", "sub"):
            sign = 1 if self._take().text == "add" else -1
            if self._next.kind != "duration":
                raise self._refusal("a duration is missing", hint="Write now() sub duration'P30D'.")
            offset += sign * self._seconds(self._take())
            if abs(offset) > MAX_OFFSET_SECONDS:
                raise self._refusal("a time lies more than 100 years away", token.at)
        return Now(offset, token.at)

    def _seconds(self, token: _Token) -> int:
        match = _DURATION.fullmatch(token.text)
        assert match is not None  # noqa: S101 - the scanner's own pattern
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[1:])
        total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        if total > MAX_OFFSET_SECONDS:
            raise self._refusal("a duration is longer than 100 years", token.at)
        return -total if match[1] else total
