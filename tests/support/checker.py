"""Compares a device, row for row and value for value, with what the source itself says its user may see."""

from __future__ import annotations

from typing import Any

from satchel.device import Device
from satchel.model.metadata import AttributeType
from tests.support.processes import Sandbox

SCOPES = {
    "account": ("accounts", ("unit",)),
    "contact": ("contacts", ("own", "team")),
    "incident": ("incidents", ("own", "team")),
    "task": ("tasks", ("own",)),
    "product": ("products", ("all",)),
    "pricelevel": ("pricelevels", ("all",)),
    "productpricelevel": ("productpricelevels", ("all",)),
}
"""What examples/field-service.toml offers: entity set and row scopes by entity."""
_LOOKUP_NAME = "Microsoft.Dynamics.CRM.lookuplogicalname"


def differences(device: Device, source: Sandbox, user: str) -> list[str]:
    """What differs, one line a row; empty: the device is exactly right."""
    found: list[str] = []
    for entity, (set_name, scopes) in SCOPES.items():
        keys = set().union(*(source.visible(user, entity, scope) for scope in scopes))
        expected = {key: row for key, row in _source_rows(device, source, entity, set_name).items() if key in keys}
        held = _device_rows(device, entity)
        found += [f"{entity} {key} is missing" for key in expected.keys() - held.keys()]
        found += [f"{entity} {key} should not be here" for key in held.keys() - expected.keys()]
        found += [
            f"{entity} {key}: {expected[key]} at the source, {held[key]} here"
            for key in expected.keys() & held.keys()
            if expected[key] != held[key]
        ]
    return found


def _source_rows(device: Device, source: Sandbox, entity: str, set_name: str) -> dict[str, tuple[Any, ...]]:
    model = device.model.entity_by_name[entity]
    type_names = {a.type_attribute: a.name for a in model.attributes if a.type_attribute}
    rows = {}
    for row in source.rows(set_name, prefer=f'odata.include-annotations="{_LOOKUP_NAME}"'):
        values = []
        for attribute in model.attributes:
            lookup = type_names.get(attribute.name)
            if lookup:
                values.append(row.get(f"_{lookup}_value@{_LOOKUP_NAME}"))
            else:
                value = row[f"_{attribute.name}_value"] if attribute.targets else row[attribute.name]
                values.append(comparable(attribute.type, value))
        rows[row[model.key[0]]] = tuple(values)
    return rows


def _device_rows(device: Device, entity: str) -> dict[str, tuple[Any, ...]]:
    model = device.model.entity_by_name[entity]
    columns = ", ".join(f'"{a.name}"' for a in model.attributes)
    rows = {}
    for row in device.sql(f'select {columns} from "{entity}"'):
        values = tuple(comparable(a.type, row[a.name]) for a in model.attributes)
        rows[row[model.key[0]]] = values
    return rows


def comparable(kind: AttributeType, value: Any) -> Any:
    """A value of the source or a device, in a form in which equal values are equal."""
    if value is None:
        return None
    if kind in {AttributeType.MONEY, AttributeType.DECIMAL, AttributeType.DOUBLE}:
        return round(float(value) * 100_000)
    if kind is AttributeType.BOOLEAN:
        return bool(value)
    return value
