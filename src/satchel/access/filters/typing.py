"""A filter's syntax tree becomes a typed condition on an entity: every name is looked up, every value checked.

Nothing of the text reaches a query but as a typed value.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import TypeVar
from uuid import UUID

from satchel.access.filters.paths import check_length, find_attribute, find_path
from satchel.access.filters.syntax import (
    Any,
    Compared,
    Joined,
    Literal,
    Negated,
    Now,
    Operand,
    Parameter,
    Path,
    Syntax,
    parse_filter,
    refusal,
)
from satchel.errors import ProfileInvalid
from satchel.model.condition import (
    ALWAYS,
    Comparison,
    Condition,
    Exists,
    MomentComparison,
    Operator,
    Place,
    Step,
    UserComparison,
    either,
    every,
    is_static,
    leaves,
    opposite,
)
from satchel.model.metadata import Attribute, AttributeType, Entity, Metadata

T = TypeVar("T")
LISTS = frozenset({"units", "teams", "reports"})
"""User parameters with several values."""
_ORDERED = {Operator.GT, Operator.GE, Operator.LT, Operator.LE}
_TURNED = {"eq": "eq", "ne": "ne", "gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}
_TEXTS = {AttributeType.STRING, AttributeType.MEMO, AttributeType.TEXT, AttributeType.BINARY, AttributeType.CHOICES}
_WHOLES = {AttributeType.INTEGER: 31, AttributeType.CHOICE: 31, AttributeType.BIGINT: 63}
_NUMBERS = {AttributeType.DECIMAL, AttributeType.MONEY, AttributeType.DOUBLE}
_TIMES = {AttributeType.DATETIME, AttributeType.DATE}


def compile_filter(
    text: str,
    metadata: Metadata,
    entity: Entity,
    *,
    user: Entity | None,
    ignores_case: bool,
    missing: frozenset[str] = frozenset(),
) -> Condition:
    """The condition a filter states. Errors: ProfileInvalid with position and hint.

    `missing`: parameters of users that nothing is known of here; a condition on them would mean nothing.
    """
    typing = _Typing(text, metadata, user, ignores_case=ignores_case, missing=missing)
    return typing.condition(parse_filter(text), entity, "", ())


class _Typing:
    def __init__(
        self, text: str, metadata: Metadata, user: Entity | None, *, ignores_case: bool, missing: frozenset[str]
    ) -> None:
        self._missing = missing
        self._text = text
        self._metadata = metadata
        self._user = user
        self._ignores_case = ignores_case

    def condition(self, node: Syntax, entity: Entity, variable: str, path: tuple[Step, ...]) -> Condition:
        """`variable`: what names begin with, within any(); `path`: the steps taken so far."""
        match node:
            case Joined(operator, terms):
                join = every if operator == "and" else either
                return join(*(self.condition(term, entity, variable, path) for term in terms))
            case Negated(term):
                return opposite(self.condition(term, entity, variable, path))
            case Any():
                return self._any(node, entity, variable, path)
            case Compared():
                return self._compared(node, entity, variable, path)

    def _refusal(self, at: int, problem: str, hint: str | None = None) -> ProfileInvalid:
        return refusal(self._text, at, problem, hint)

    def _located(self, at: int, find: Callable[[], T]) -> T:
        """What is wrong with a name is told with its place."""
        try:
            return find()
        except ProfileInvalid as error:
            raise self._refusal(at, error.message.rstrip("."), error.hint) from error

    def _names(self, path: Path, variable: str) -> tuple[str, ...]:
        if not variable:
            return path.names
        if path.names[0] != variable or len(path.names) < 2:
            raise self._refusal(path.at, f"{'/'.join(path.names)} is not of {variable}", f"Write {variable}/attribute.")
        return path.names[1:]

    def _any(self, node: Any, entity: Entity, variable: str, path: tuple[Step, ...]) -> Condition:
        names = self._names(node.path, variable)
        steps = self._located(node.at, lambda: find_path(self._metadata, entity, names))
        self._located(node.at, lambda: check_length(path + steps))
        if not any(step.is_backward for step in steps):
            raise self._refusal(
                node.at, f"{'/'.join(names)} is one row", "any() is for rows that point here: entity.lookup."
            )
        reached = self._metadata.entity_by_name[steps[-1].entity]
        term = self.condition(node.term, reached, node.variable, path + steps) if node.term else ALWAYS
        if not is_static(term):
            self._check_user_term(node, term)
        return Exists(steps, term)

    def _check_user_term(self, node: Any, term: Condition) -> None:
        """A key can hold the values of one attribute of the related rows, not of several tied together."""
        own = [leaf for leaf in leaves(term) if not is_static(leaf)]
        rest = every(*(leaf for leaf in leaves(term) if is_static(leaf)))
        is_plain = len(own) == 1 and isinstance(own[0], UserComparison) and term in {own[0], every(*leaves(term))}
        if not is_plain or own[0].operator is Operator.NE or not is_static(rest):  # type: ignore[union-attr]
            raise self._refusal(
                node.at,
                "within any() the user's values can be compared once, with eq or in, joined by `and`",
                "Write one any() for each comparison, or relate this entity to the other one (related = ...).",
            )

    def _compared(self, node: Compared, entity: Entity, variable: str, path: tuple[Step, ...]) -> Condition:
        left, right, operator = node.left, node.right, node.operator
        if not isinstance(left, Path) and len(right) == 1 and isinstance(right[0], Path) and operator in _TURNED:
            left, right, operator = right[0], (left,), _TURNED[operator]
        if not isinstance(left, Path):
            raise self._refusal(node.at, "an attribute is missing on the left side")
        names = self._names(left, variable)
        place, attribute = self._located(left.at, lambda: self._place(entity, names))
        self._located(left.at, lambda: check_length(path + place.path))
        if any(isinstance(each, Path) for each in right):
            raise self._refusal(node.at, "two attributes cannot be compared", "Compare an attribute with a value.")
        return self._leaf(node, place, attribute, Operator(operator), right)

    def _place(self, entity: Entity, names: tuple[str, ...]) -> tuple[Place, Attribute]:
        steps = find_path(self._metadata, entity, names[:-1])
        if any(step.is_backward for step in steps) or "." in names[-1]:
            raise ProfileInvalid("several rows may be there", hint="Write entity.lookup/any(r: r/attribute eq ...).")
        reached = self._metadata.entity_by_name[steps[-1].entity] if steps else entity
        return Place(names[-1], steps), find_attribute(reached, names[-1])

    def _leaf(
        self, node: Compared, place: Place, attribute: Attribute, operator: Operator, right: tuple[Operand, ...]
    ) -> Condition:
        first = right[0]
        if any(isinstance(each, Parameter | Now) for each in right) and len(right) > 1:
            raise self._refusal(node.at, "a list holds fixed values only", "Join two comparisons with `or`.")
        if isinstance(first, Parameter):
            return self._user_comparison(first, place, attribute, operator)
        if isinstance(first, Now):
            return self._moment(node, first, place, attribute, operator)
        literals = [each for each in right if isinstance(each, Literal)]
        if len(literals) != len(right):
            raise self._refusal(node.at, "a list holds fixed values only")
        if any(literal.kind == "null" for literal in literals):
            return self._null(node, place, operator, literals)
        if attribute.type is AttributeType.CHOICES:
            hint = "It can be compared with null only."
            raise self._refusal(node.at, f"{attribute.name} holds several choices", hint)
        is_text_test = operator in {Operator.CONTAINS, Operator.STARTS_WITH, Operator.ENDS_WITH}
        if is_text_test and attribute.type not in _TEXTS:
            raise self._refusal(node.at, f"{attribute.name} is not text but {attribute.type}")
        if operator in _ORDERED and attribute.type in {AttributeType.BOOLEAN, AttributeType.GUID}:
            raise self._refusal(node.at, f"{attribute.name} ({attribute.type}) has no order", "Use eq, ne or in.")
        values = tuple(self._value(literal, attribute) for literal in literals)
        return Comparison(place, operator, values, self._ignores_case and attribute.type in _TEXTS)

    def _null(self, node: Compared, place: Place, operator: Operator, literals: list[Literal]) -> Condition:
        if operator is Operator.EQ and len(literals) == 1:
            return Comparison(place, Operator.IS_NULL)
        if operator is Operator.NE and len(literals) == 1:
            return opposite(Comparison(place, Operator.IS_NULL))
        raise self._refusal(node.at, "null can be compared with eq and ne only")

    def _user_comparison(
        self, parameter: Parameter, place: Place, attribute: Attribute, operator: Operator
    ) -> Condition:
        name = parameter.name
        if name in self._missing:
            hint = "Say where it stands: hierarchy, or [principals]."
            raise self._refusal(parameter.at, f"nothing is known of @my.{name} here", hint)
        self._check_user_type(parameter, attribute)
        if name in LISTS:
            if operator is not Operator.IN:
                raise self._refusal(parameter.at, f"@my.{name} has several values", f"Write `in @my.{name}`.")
            return UserComparison(place, operator, name)
        if operator not in {Operator.EQ, Operator.NE}:
            raise self._refusal(parameter.at, "the user's values can be compared with eq and ne only")
        if name in {"id", "unit"}:
            return UserComparison(place, operator, name)
        if self._user is None:
            raise self._refusal(parameter.at, "there is no entity of users", "Say in [principals] which one it is.")
        user = self._user
        own = self._located(parameter.at, lambda: find_attribute(user, name))
        if own.type is not attribute.type and not {own.type, attribute.type} <= _TEXTS:
            raise self._refusal(parameter.at, f"{attribute.name} is {attribute.type}, and @my.{name} is {own.type}")
        return UserComparison(place, operator, f"user.{name}", self._ignores_case and attribute.type in _TEXTS)

    def _check_user_type(self, parameter: Parameter, attribute: Attribute) -> None:
        """Ids are compared with ids only."""
        if parameter.name not in LISTS | {"id", "unit"} or self._user is None:
            return
        key = self._user.attribute_by_name[self._user.key[0]]
        if key.type is not attribute.type:
            raise self._refusal(parameter.at, f"{attribute.name} is {attribute.type}, and an id is {key.type}")

    def _moment(self, node: Compared, now: Now, place: Place, attribute: Attribute, operator: Operator) -> Condition:
        if attribute.type not in _TIMES:
            raise self._refusal(node.at, f"{attribute.name} is not a time but {attribute.type}")
        if operator not in _ORDERED or len(node.right) != 1:
            raise self._refusal(node.at, "now() can be compared with gt, ge, lt and le only")
        return MomentComparison(place, operator, now.offset_seconds)

    def _value(self, literal: Literal, attribute: Attribute) -> str:
        """The literal as the text of a value of the attribute's type."""
        kind, text = attribute.type, literal.text
        if kind in _TEXTS and literal.kind == "string":
            return text
        if kind in _WHOLES and literal.kind == "number" and text.lstrip("-").isdigit():
            if -(2 ** _WHOLES[kind]) <= int(text) < 2 ** _WHOLES[kind]:
                return str(int(text))
            raise self._refusal(literal.at, f"{text[:40]} is too large for {attribute.name}")
        if kind in _NUMBERS and literal.kind == "number":
            return self._number(literal)
        if kind is AttributeType.BOOLEAN and literal.kind == "boolean":
            return text
        if kind is AttributeType.GUID and literal.kind in {"guid", "string"} and _is_guid(text):
            return text.lower()
        if kind in _TIMES and literal.kind in {"date", "datetime"}:
            return self._time(literal, attribute)
        if kind is AttributeType.TIME and literal.kind == "string":
            return self._clock(literal)
        named = {"string": "text", "number": "a number", "boolean": "true or false"}.get(literal.kind, literal.kind)
        raise self._refusal(literal.at, f"{attribute.name} is {kind}, and this is {named}")

    def _number(self, literal: Literal) -> str:
        try:
            value = Decimal(literal.text)
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite() or abs(value.adjusted()) > 300 or len(literal.text) > 400:
            raise self._refusal(literal.at, "the number is too large")
        return f"{value:f}"

    def _time(self, literal: Literal, attribute: Attribute) -> str:
        try:
            if literal.kind == "date":
                return date.fromisoformat(literal.text).isoformat()
            moment = datetime.fromisoformat(literal.text.replace("Z", "+00:00")).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise self._refusal(literal.at, f"there is no such time: {literal.text}") from error
        if attribute.type is AttributeType.DATE:
            raise self._refusal(literal.at, f"{attribute.name} is a date", "Write 2026-11-23.")
        return moment.isoformat()

    def _clock(self, literal: Literal) -> str:
        try:
            return datetime.strptime(literal.text, "%H:%M:%S").time().isoformat()
        except ValueError as error:
            raise self._refusal(literal.at, "a time of day is written '15:04:05'") from error


def _is_guid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
