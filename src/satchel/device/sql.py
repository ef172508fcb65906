"""Reading with SQL: everything that reads the organization's data, nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import apsw

from satchel.device.store import Store, readable_failures
from satchel.device.values import bindable
from satchel.errors import QueryInvalid

Row = dict[str, Any]
_READING = {
    apsw.SQLITE_SELECT,
    apsw.SQLITE_READ,
    apsw.SQLITE_FUNCTION,
    apsw.SQLITE_RECURSIVE,
}
_PRAGMAS_OF_A_TABLE = {"table_info", "table_xinfo", "index_list", "index_info", "index_xinfo"}
_PRAGMAS = {"table_list", "user_version", "compile_options", "function_list"}
_INTERNAL = "_satchel_"


def run_sql(store: Store, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
    """Run a query on a read-only connection; values as SQLite has them. Errors: QueryInvalid.

    Two columns of one name come back as `name` and `name_2`.
    """
    guard = _Guard()
    store.connection.authorizer = guard
    try:
        with readable_failures():
            return _rows(store.connection, query, _bound(parameters))
    except (apsw.AuthError, apsw.ReadOnlyError) as error:
        raise QueryInvalid(guard.reason or "A query only reads; nothing was changed.") from error
    except (apsw.SQLError, apsw.BindingsError, apsw.MismatchError, apsw.TooBigError, TypeError, ValueError) as error:
        raise QueryInvalid(
            f"The query cannot be run: {error}.", hint="`satchel device tables` shows tables and columns."
        ) from error
    finally:
        store.connection.authorizer = None


def _rows(connection: apsw.Connection, query: str, parameters: Any) -> list[Row]:
    found: list[Row] = []
    names: list[str] = []
    cursor = connection.cursor()

    def begin(_: apsw.Cursor, statement: str, bindings: object) -> bool:
        if names:
            raise QueryInvalid("There is more than one query.", hint="Run them one after another.")
        names.extend(_distinct([column[0] for column in cursor.get_description()]))
        return True

    cursor.exec_trace = begin
    for row in cursor.execute(query, parameters, can_cache=False):
        if not found:  # a sync may have changed the tables since the query was prepared
            names[:] = _distinct([column[0] for column in cursor.get_description()])
        found.append(dict(zip(names, row, strict=True)))
    if not names:
        raise QueryInvalid("There is no query.", hint='For example: "select count(*) from contact".')
    return found


def _bound(parameters: Sequence[Any] | Mapping[str, Any]) -> Any:
    if isinstance(parameters, Mapping):
        return {name: bindable(value) for name, value in parameters.items()}
    return [bindable(value) for value in parameters]


def _distinct(names: Sequence[str]) -> list[str]:
    seen: list[str] = []
    for name in names:
        number = 1
        while (own := name if number == 1 else f"{name}_{number}") in seen:
            number += 1
        seen.append(own)
    return seen


class _Guard:
    """SQLite asks it for everything a statement would do."""

    def __init__(self) -> None:
        self.reason = ""

    def __call__(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        is_internal = action == apsw.SQLITE_READ and (first or "").lower().startswith(_INTERNAL)
        if is_internal:
            self.reason = f"{first} is internal."
        elif action in _READING or (action == apsw.SQLITE_PRAGMA and _is_reading(first or "", second)):
            return apsw.SQLITE_OK
        return apsw.SQLITE_DENY


def _is_reading(pragma: str, argument: str | None) -> bool:
    return pragma in _PRAGMAS_OF_A_TABLE or (pragma in _PRAGMAS and argument is None)
