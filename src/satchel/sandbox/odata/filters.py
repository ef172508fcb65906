"""`$filter` becomes SQL with bound values: parsed by hand, typed against the entity, never pasted.

Source: OData Version 4.01 Part 2: URL Conventions, section 5.1.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from satchel.sandbox.odata.answers import ODataError
from satchel.sandbox.odata.literals import unquoted, value_of
from satchel.sandbox.schema.kinds import TEXTS, Column, Entity, Kind
from satchel.sandbox.schema.organization import BY_NAME

MAX_CHARACTERS = 32_768
MAX_DEPTH = 100
MAX_CONDITIONS = 500
"""As documented for a query; SQLite would take not many more."""
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<guid>[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12})"
    r"|(?P<moment>\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?)|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<word>[A-Za-z_@$][\w.]*(?:/[A-Za-z_]\w*)*)|(?P<mark>[(),]))"
)
_COMPARISONS = {"eq": "is", "ne": "is not", "gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_FUNCTIONS = {"contains": "%{}%", "startswith": "{}%", "endswith": "%{}"}


Sql = tuple[str, list[Any]]


def filter_sql(entity: Entity, text: str) -> Sql:
    """The condition on the table alias `t` and its values. Errors: ODataError 400."""
    if len(text) > MAX_CHARACTERS:
        raise _syntax("the expression is too long")
    return _Parser(entity, text).whole()


def column_of(entity: Entity, name: str) -> Column:
    """The attribute behind a property's name. Errors: ODataError 400."""
    column = entity.by_wire.get(name)
    if column is None:
        raise ODataError(400, "0x0", f"Could not find a property named '{name[:100]}' on type '{entity.type}'.")
    return column


def comparable(expression: str, column: Column) -> str:
    """An SQL expression that compares as the service does: texts without case; decimals, kept as text, as numbers."""
    if column.kind in TEXTS:
        return f"{expression} collate nocase"
    return f"cast({expression} as real)" if column.kind is Kind.DECIMAL else expression


class _Parser:
    def __init__(self, entity: Entity, text: str) -> None:
        self._entity = entity
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0
        self._conditions = 0

    def whole(self) -> Sql:
        result = self._or()
        if self._at < len(self._tokens):
            raise _syntax(f"unexpected '{self._tokens[self._at][1]}'")
        return result

    def _or(self) -> Sql:
        return self._chain(self._and, "or")

    def _and(self) -> Sql:
        return self._chain(self._unary, "and")

    def _chain(self, part: Callable[[], Sql], word: str) -> Sql:
        sql, values = part()
        while self._take_word(word):
            more, more_values = part()
            sql, values = f"({sql} {word} {more})", values + more_values
        return sql, values

    def _unary(self) -> Sql:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _syntax("the expression is nested too deeply")
        try:
            if self._take_word("not"):
                sql, values = self._unary()
                return f"not ({sql})", values
            if self._take_mark("("):
                inner = self._or()
                self._need_mark(")")
                return f"({inner[0]})", inner[1]
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Sql:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise ODataError(
                400, "0x80041137", f"Number of conditions in query exceeded maximum limit of {MAX_CONDITIONS}."
            )
        kind, word = self._next()
        if kind != "word":
            raise _syntax(f"unexpected '{word}'")
        if word.lower() in _FUNCTIONS:
            return self._function(word.lower())
        expression, column = self._property(word)
        _, operator = self._next()
        if operator.lower() == "in":
            return self._in(expression, column)
        if operator not in _COMPARISONS:
            raise _syntax(f"'{operator}' is no operator")
        value = self._literal(column)
        if value is None and operator not in {"eq", "ne"}:
            return "0", []
        return f"{expression} {_COMPARISONS[operator]} ?", [value]

    def _in(self, expression: str, column: Column) -> Sql:
        self._need_mark("(")
        values = [self._literal(column)]
        while self._take_mark(","):
            values.append(self._literal(column))
        self._need_mark(")")
        return f"{expression} in ({','.join('?' * len(values))})", values

    def _function(self, name: str) -> Sql:
        self._need_mark("(")
        expression, _ = self._property(self._next()[1])
        self._need_mark(",")
        kind, text = self._next()
        if kind != "text":
            raise _syntax(f"{name} takes a text")
        self._need_mark(")")
        escaped = re.sub(r"([\\%_])", r"\\\1", unquoted(text))
        return f"{expression} like ? escape '\\'", [_FUNCTIONS[name].format(escaped)]

    def _property(self, path: str) -> tuple[str, Column]:
        if "/" not in path:
            column = column_of(self._entity, path)
            return comparable(f't."{column.name}"', column), column
        navigation, _, name = path.partition("/")
        found = self._entity.by_navigation.get(navigation)
        if found is None or len(found[1]) != 1:
            raise ODataError(
                400, "0x0", f"Could not find a property named '{navigation}' on type '{self._entity.type}'."
            )
        lookup, target = found[0], BY_NAME[found[1][0]]
        column = column_of(target, name)
        inner = f'select r."{column.name}" from "{target.name}" r where r."{target.key}" = t."{lookup.name}"'
        return comparable(f"({inner})", column), column

    def _literal(self, column: Column) -> Any:
        kind, text = self._next()
        if kind == "word" and text == "null":
            return None
        try:
            return value_of(column, kind, text)
        except (KeyError, ValueError, OverflowError) as error:
            raise ODataError(
                400,
                "0x0",
                f"A binary operator with incompatible types was detected: '{text[:100]}' for '{column.wire}'.",
            ) from error

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise _syntax("the expression ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _take_word(self, word: str) -> bool:
        return self._take("word", word)

    def _take_mark(self, mark: str) -> bool:
        return self._take("mark", mark)

    def _take(self, kind: str, text: str) -> bool:
        is_next = self._at < len(self._tokens) and self._tokens[self._at] == (kind, text)
        self._at += is_next
        return is_next

    def _need_mark(self, mark: str) -> None:
        if not self._take_mark(mark):
            raise _syntax(f"'{mark}' is missing")


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise _syntax(f"unexpected '{text[at : at + 20]}' at position {at}")
        found.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return found


def _syntax(problem: str) -> ODataError:
    return ODataError(400, "0x80060888", f"Syntax error in $filter: {problem}.")
