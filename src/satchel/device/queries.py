"""Reading: a small typed query interface that knows the client model."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Any, Self

import apsw

from satchel.device.sql import Row
from satchel.device.store import Store, readable_failures
from satchel.device.values import from_column, to_column
from satchel.errors import QueryInvalid
from satchel.model.client_model import ClientAttribute, ClientEntity, is_decimal, is_narrow
from satchel.model.metadata import AttributeType
from satchel.protocol.images import quoted

_OPERATORS = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">=", "like": "like"}


class Table:
    """A typed query over one entity; each method returns a narrower one, and iterating reads the rows one by one."""

    def __init__(self, store: Store, entity: ClientEntity, check: Callable[[], None] = lambda: None) -> None:
        """All rows; `check` refuses a read by raising."""
        self._store = store
        self._check = check
        self._entity = entity
        self._attributes = {a.name: a for a in entity.attributes}
        self._conditions: list[str] = []
        self._parameters: list[Any] = []
        self._order: list[str] = []
        self._limit: int | None = None

    def where(self, name: str, operator: str, value: object) -> Self:
        """Rows whose attribute compares so: `=  !=  <  <=  >  >=  like  in`. `= None` finds rows without a value.

        Errors: QueryInvalid.
        """
        attribute = self._attribute(name)
        expression = _comparable(attribute)
        if operator == "in" and isinstance(value, list | tuple | set | frozenset):
            return self._with(
                f"{expression} in ({', '.join('?' * len(value))})", *(_bound(attribute, v) for v in value)
            )
        if operator not in _OPERATORS:
            known = ", ".join([*_OPERATORS, "in (with a list)"])
            raise QueryInvalid(f"There is no operator {operator!r} for {value!r}.", hint=f"There are {known}.")
        if value is None and operator in {"=", "!="}:
            return self._with(f"{expression} is {'not ' if operator == '!=' else ''}null")
        if operator == "like":
            return self._with(f"{quoted(name)} like ?", str(value))
        return self._with(f"{expression} {_OPERATORS[operator]} ?", _bound(attribute, value))

    def order_by(self, name: str, *, descending: bool = False) -> Self:
        """Sorted by an attribute, after those named before."""
        expression = _comparable(self._attribute(name))
        narrower = self._with()
        narrower._order.append(f"{expression} {'desc' if descending else 'asc'}")
        return narrower

    def limit(self, count: int) -> Self:
        """At most so many rows. Errors: QueryInvalid."""
        if count < 0:
            raise QueryInvalid(f"A limit of {count} rows makes no sense.")
        narrower = self._with()
        narrower._limit = count
        return narrower

    def __iter__(self) -> Iterator[Row]:
        """The rows one by one, with typed values; as they are when the first is read."""
        attributes = self._entity.attributes
        names, converters = [a.name for a in attributes], [from_column(a) for a in attributes]
        order = f" order by {', '.join(self._order)}" if self._order else ""
        limit = f" limit {self._limit}" if self._limit is not None else ""
        for row in self._select(", ".join(quoted(name) for name in names), order + limit):
            yield {n: None if v is None else convert(v) for n, convert, v in zip(names, converters, row, strict=True)}

    def all(self) -> list[Row]:
        """The rows, with typed values."""
        return list(self)

    def first(self) -> Row | None:
        """The first row, if there is one."""
        return next(iter(self.limit(1)), None)

    def count(self) -> int:
        """How many rows; a limit does not count."""
        return int(next(self._select("count(*)"))[0])

    def get(self, *key: object) -> Row | None:
        """The row with this key, one value a key attribute. Errors: QueryInvalid."""
        if len(key) != len(self._entity.key):
            raise QueryInvalid(f"The key of {self._entity.name} is {', '.join(self._entity.key)}.")
        found = self
        for name, value in zip(self._entity.key, key, strict=True):
            found = found.where(name, "=", value)
        return found.first()

    def _select(self, columns: str, tail: str = "") -> Iterator[tuple[Any, ...]]:
        self._check()
        where = f" where {' and '.join(self._conditions)}" if self._conditions else ""
        query = f"select {columns} from {quoted(self._entity.name)}{where}{tail}"
        with readable_failures():
            try:
                yield from self._store.connection.execute(query, self._parameters)
            except (apsw.SQLError, apsw.TooBigError, apsw.RangeError) as error:
                raise QueryInvalid(f"The query cannot be run: {error}.") from error

    def _with(self, condition: str = "", *parameters: Any) -> Self:
        other = type(self)(self._store, self._entity, self._check)
        other._conditions = [*self._conditions, condition] if condition else [*self._conditions]
        other._parameters = [*self._parameters, *parameters]
        other._order, other._limit = [*self._order], self._limit
        return other

    def _attribute(self, name: str) -> ClientAttribute:
        attribute = self._attributes.get(name)
        if attribute is None:
            near = difflib.get_close_matches(name, self._attributes, n=2, cutoff=0.5)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"It has {', '.join(self._attributes)}."
            raise QueryInvalid(f"{self._entity.name} has no attribute {name!r}.", hint=hint)
        return attribute


def _comparable(attribute: ClientAttribute) -> str:
    """The column as it compares and sorts: a fraction of a second after the whole one, a long decimal as a number."""
    name = quoted(attribute.name)
    if attribute.type is AttributeType.DATETIME:
        return f"rtrim({name}, 'Z')"
    return f"cast({name} as real)" if is_decimal(attribute) and not is_narrow(attribute) else name


def _bound(attribute: ClientAttribute, value: object) -> Any:
    try:
        return to_column(attribute, value)
    except (ValueError, ArithmeticError) as error:
        raise QueryInvalid(
            f"{value!r} cannot be compared with {attribute.name}: {error}.",
            hint=f"{attribute.name} is of type {attribute.type.value}.",
        ) from error
