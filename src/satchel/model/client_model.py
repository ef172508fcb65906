"""The client model: entities and attributes as a device sees them.

It is made by the data sync worker from metadata and profile, served by the sync server, and drives the device's tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import msgspec

from satchel.model.metadata import AttributeType, Option, digest_of

EXACT_DIGITS = 15  # a double keeps that many decimal digits


class ClientAttribute(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One column of a device's table. The fields mean what they mean in `Attribute`."""

    name: str
    type: AttributeType
    precision: int | None = None
    scale: int | None = None
    max_length: int | None = None
    minimum: str | None = None
    maximum: str | None = None
    targets: tuple[str, ...] = ()
    type_attribute: str | None = None
    is_required: bool = False
    is_creatable: bool = False
    is_updatable: bool = False
    options: tuple[Option, ...] = ()
    label: str = ""


def is_decimal(attribute: ClientAttribute) -> bool:
    """A number that must come back with exactly its digits."""
    return attribute.type in {AttributeType.DECIMAL, AttributeType.MONEY}


def is_narrow(attribute: ClientAttribute) -> bool:
    """A decimal whose every value a double keeps exactly: devices keep others in columns of another type."""
    return is_decimal(attribute) and attribute.scale is not None and (attribute.precision or 99) <= EXACT_DIGITS


class ClientEntity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One table of a device."""

    name: str
    key: tuple[str, ...]
    attributes: tuple[ClientAttribute, ...]
    name_attribute: str | None = None
    label: str = ""
    conflicts: str = "merge"
    """Whose change counts where both sides changed a row: merge, server, device or ask."""
    is_read_only: bool = False

    @property
    def digest(self) -> str:
        """A hash that is equal where rows are the same lines: labels and limits may differ."""
        return digest_of([self.key, [_form(attribute) for attribute in self.attributes]])


class ClientModel(msgspec.Struct, frozen=True, dict=True):
    """All tables of a device."""

    entities: tuple[ClientEntity, ...] = ()

    @cached_property
    def entity_by_name(self) -> Mapping[str, ClientEntity]:
        """The entities by name."""
        return {entity.name: entity for entity in self.entities}

    @cached_property
    def digest(self) -> str:
        """The hash that device and server compare."""
        return digest_of(self)


def _form(attribute: ClientAttribute) -> tuple[object, ...]:
    """What values look like on the wire and on a device. A device makes a table anew where a decimal gets wide."""
    form = (attribute.name, attribute.type, attribute.scale)
    is_wide = is_decimal(attribute) and attribute.scale is not None and not is_narrow(attribute)
    return (*form, "wide") if is_wide else form
