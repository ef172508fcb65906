"""Reading: SQL for those who like it, and a small typed interface that knows the client model."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Self

import apsw

from satchel.device.schema import is_numeric, quoted
from satchel.device.store import Store
from satchel.device.values import from_column, to_column
from satchel.errors import QueryInvalid
from satchel.model.client_model import ClientAttribute, ClientEntity
from satchel.model.metadata import AttributeType

Row = dict[str, Any]
_OPERATORS = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">=", "like": "like"}
_TEXT_OPERATORS = {"like"}


def run_sql(store: Store, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
    """Run a query on a read-only connection; values as SQLite has them. Errors: QueryInvalid."""
    try:
        cursor = store.connection.execute(query, parameters)
        names = [column[0] for column in cursor.get_description()]
        return [dict(zip(names, row, strict=True)) for row in cursor]
    except apsw.ReadOnlyError as error:
        raise QueryInvalid("A query only reads; nothing was changed.") from error
    except apsw.ExecutionCompleteError:
        return []
    except (apsw.Error, TypeError, ValueError) as error:
        raise QueryInvalid(
            f"The query cannot be run: {error}.", hint="`satchel device tables` shows tables and columns."
        ) from error


class Table:
    """A typed query over one entity; each method returns a narrower one."""

    def __init__(self, store: Store, entity: ClientEntity) -> None:
        """All rows."""
        self._store = store
        self._entity = entity
        self._attributes = {a.name: a for a in entity.attributes}
        self._conditions: list[str] = []
        self._parameters: list[Any] = []
        self._order: list[str] = []
        self._limit: int | None = None

    def where(self, name: str, operator: str, value: object) -> Self:
        """Rows whose attribute compares so: `=  !=  <  <=  >  >=  like  in`. None compares as SQL's NULL does not: it
        is equal to itself. Errors: QueryInvalid."""
        attribute = self._attribute(name)
        narrower = self._copy()
        if operator == "in" and isinstance(value, list | tuple | set | frozenset):
            marks = ", ".join("?" for _ in value)
            narrower._conditions.append(f"{self._expression(attribute)} in ({marks})")
            narrower._parameters += [self._bound(attribute, one) for one in value]
            return narrower
        if operator not in _OPERATORS:
            known = ", ".join([*_OPERATORS, "in"])
            raise QueryInvalid(f"There is no operator {operator!r} for {value!r}.", hint=f"There are {known}.")
        if value is None and operator in {"=", "!="}:
            narrower._conditions.append(f"{quoted(name)} is {'not ' if operator == '!=' else ''}null")
            return narrower
        narrower._conditions.append(f"{self._expression(attribute)} {_OPERATORS[operator]} ?")
        narrower._parameters.append(self._bound(attribute, value))
        return narrower

    def order_by(self, name: str, *, descending: bool = False) -> Self:
        """Sorted by an attribute, after those named before."""
        expression = self._expression(self._attribute(name))
        narrower = self._copy()
        narrower._order.append(f"{expression} {'desc' if descending else 'asc'}")
        return narrower

    def limit(self, count: int) -> Self:
        """At most so many rows."""
        narrower = self._copy()
        narrower._limit = count
        return narrower

    def all(self) -> list[Row]:
        """The rows, with typed values."""
        names = [a.name for a in self._entity.attributes]
        converters = [from_column(a) for a in self._entity.attributes]
        columns = ", ".join(quoted(name) for name in names)
        order = f" order by {', '.join(self._order)}" if self._order else ""
        limit = f" limit {int(self._limit)}" if self._limit is not None else ""
        cursor = self._store.connection.execute(
            f"select {columns} from {quoted(self._entity.name)}{self._filter()}{order}{limit}", self._parameters
        )
        return [
            {n: None if v is None else convert(v) for n, convert, v in zip(names, converters, row, strict=True)}
            for row in cursor
        ]

    def first(self) -> Row | None:
        """The first row, if there is one."""
        rows = self.limit(1).all()
        return rows[0] if rows else None

    def count(self) -> int:
        """How many rows."""
        query = f"select count(*) from {quoted(self._entity.name)}{self._filter()}"
        for (count,) in self._store.connection.execute(query, self._parameters):
            return int(count)
        return 0

    def get(self, *key: object) -> Row | None:
        """The row with this key, one value a key attribute. Errors: QueryInvalid."""
        if len(key) != len(self._entity.key):
            raise QueryInvalid(f"The key of {self._entity.name} is {', '.join(self._entity.key)}.")
        found = self
        for name, value in zip(self._entity.key, key, strict=True):
            found = found.where(name, "=", value)
        return found.first()

    def _filter(self) -> str:
        return f" where {' and '.join(self._conditions)}" if self._conditions else ""

    def _copy(self) -> Self:
        other = type(self)(self._store, self._entity)
        other._conditions, other._parameters = [*self._conditions], [*self._parameters]
        other._order, other._limit = [*self._order], self._limit
        return other

    def _attribute(self, name: str) -> ClientAttribute:
        attribute = self._attributes.get(name)
        if attribute is None:
            near = difflib.get_close_matches(name, self._attributes, n=2, cutoff=0.5)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"It has {', '.join(self._attributes)}."
            raise QueryInvalid(f"{self._entity.name} has no attribute {name!r}.", hint=hint)
        return attribute

    def _expression(self, attribute: ClientAttribute) -> str:
        is_decimal = attribute.type in {AttributeType.DECIMAL, AttributeType.MONEY}
        name = quoted(attribute.name)
        return f"cast({name} as real)" if is_decimal and not is_numeric(attribute) else name

    def _bound(self, attribute: ClientAttribute, value: object) -> Any:
        is_decimal = attribute.type in {AttributeType.DECIMAL, AttributeType.MONEY}
        try:
            return float(Decimal(str(value))) if is_decimal and value is not None else to_column(attribute, value)
        except (ValueError, ArithmeticError) as error:
            raise QueryInvalid(f"{value!r} cannot be compared with {attribute.name}: {error}.") from error
