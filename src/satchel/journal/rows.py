"""Which rows an edit set changes or refers to. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from satchel.model.client_model import ClientEntity, ClientModel
from satchel.model.edits import Edit, EditSet


class TouchedRow(msgspec.Struct, frozen=True):
    """A row that a set changes (`is_written`) or refers to."""

    entity: str
    key: str
    """JSON array of the key's parts as text."""
    is_written: bool


def touched_rows(edit_set: EditSet, model: ClientModel) -> list[TouchedRow]:
    """The rows of a set, each once; what it changes counts as changed only."""
    written = {(edit.entity, key_json(edit.key)) for edit in edit_set.edits}
    referred = {row for edit in edit_set.edits for row in _references(edit, model)} - written
    return [
        *(TouchedRow(entity, key, is_written=True) for entity, key in sorted(written)),
        *(TouchedRow(entity, key, is_written=False) for entity, key in sorted(referred)),
    ]


def key_json(key: tuple[str, ...]) -> str:
    """A key as one text, by which sets are put in order: keys that some sources take for the same have one."""
    return msgspec.json.encode([part.lower() for part in key]).decode()


def row_name(entity: str, key: tuple[str, ...]) -> str:
    """Names a row in what is known of rows."""
    return f"{entity} {msgspec.json.encode(key).decode()}"


def _references(edit: Edit, model: ClientModel) -> Iterator[tuple[str, str]]:
    entity: ClientEntity | None = model.entity_by_name.get(edit.entity)
    for attribute in entity.attributes if entity else ():
        value = edit.values.get(attribute.name)
        if attribute.targets and value is not None:
            named = edit.values.get(attribute.type_attribute or "")
            for target in [named] if isinstance(named, str) else attribute.targets:
                yield target, key_json((str(value),))
