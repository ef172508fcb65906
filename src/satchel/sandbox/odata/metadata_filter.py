"""`$filter` on metadata: eq, ne, in, and, or, not, parentheses, and a step into a managed property.

Source: powerapps-docs, webapi/query-metadata-web-api.md, "Use complex types in $filter operations".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from satchel.sandbox.odata.answers import ODataError

MAX_CHARACTERS = 8_192
MAX_DEPTH = 50
_TOKEN = re.compile(r"\s*((?:[\w.]*'[^']*')|[\w./-]+|[(),])")

Item = Mapping[str, Any]
Test = Callable[[Item], bool]


def metadata_filter(text: str) -> Test:
    """What a filter lets through. Errors: ODataError 400."""
    if len(text) > MAX_CHARACTERS:
        raise _unsupported("it is too long")
    parser = _Parser(text)
    test = parser.either(0)
    if parser.tokens:
        raise _unsupported(parser.tokens[-1])
    return test


class _Parser:
    def __init__(self, text: str) -> None:
        """The tokens, the next one last."""
        self.tokens = _TOKEN.findall(text)[::-1]
        if "".join(reversed(self.tokens)) != re.sub(r"\s+(?=(?:[^']*'[^']*')*[^']*$)", "", text):
            raise _unsupported(text)

    def either(self, depth: int) -> Test:
        tests = [self._all(depth)]
        while self._takes("or"):
            tests.append(self._all(depth))
        return lambda item: any(test(item) for test in tests)

    def _all(self, depth: int) -> Test:
        tests = [self._one(depth)]
        while self._takes("and"):
            tests.append(self._one(depth))
        return lambda item: all(test(item) for test in tests)

    def _one(self, depth: int) -> Test:
        if depth > MAX_DEPTH:
            raise _unsupported("it is nested too deeply")
        if self._takes("not"):
            test = self._one(depth + 1)
            return lambda item: not test(item)
        if self._takes("("):
            test = self.either(depth + 1)
            self._needs(")")
            return test
        return self._comparison()

    def _comparison(self) -> Test:
        path, operator = self._next(), self._next()
        if operator not in {"eq", "ne", "in"}:
            raise _unsupported(operator)
        wanted = {_literal(self._next())} if operator != "in" else self._listed()
        return lambda item: (_value(item, path) in wanted) == (operator != "ne")

    def _listed(self) -> set[str]:
        self._needs("(")
        wanted = {_literal(self._next())}
        while self._takes(","):
            wanted.add(_literal(self._next()))
        self._needs(")")
        return wanted

    def _next(self) -> str:
        if not self.tokens:
            raise _unsupported("it ends too early")
        return str(self.tokens.pop())

    def _takes(self, token: str) -> bool:
        is_next = bool(self.tokens) and self.tokens[-1] == token
        if is_next:
            self.tokens.pop()
        return is_next

    def _needs(self, token: str) -> None:
        if not self._takes(token):
            raise _unsupported(f"'{token}' is missing")


def _literal(token: str) -> str:
    """A value as text without case: of an enumeration its name alone."""
    quoted = re.fullmatch(r"[\w.]*'([^']*)'", token)
    return (quoted[1] if quoted else token).lower()


def _value(item: Item, path: str) -> str:
    value: Any = item
    for name in path.split("/"):
        if not isinstance(value, Mapping) or name not in value:
            raise _unsupported(path)
        value = value[name]
    if isinstance(value, Mapping):
        value = value.get("Value")
    return "null" if value is None else str(value).lower()


def _unsupported(text: str) -> ODataError:
    return ODataError(400, "0x80060888", f"The filter on metadata is not supported: {text[:100]}")
