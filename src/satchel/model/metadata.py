"""An organization's metadata: entities and attributes as the source describes them.

Source: OData CSDL XML 4.01; Dataverse `EntityDefinitions` for what CSDL lacks (labels, options, ownership).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property

import msgspec

from satchel.model.ids import Key


class AttributeType(StrEnum):
    """What a value is. The wire form (JSON, staging to device) stands behind each."""

    STRING = "string"  # text
    MEMO = "memo"  # long text
    INTEGER = "integer"  # JSON number, 32 bits
    BIGINT = "bigint"  # JSON number, 64 bits
    DECIMAL = "decimal"  # text, exact: "94.50"
    MONEY = "money"  # text, exact
    DOUBLE = "double"  # JSON number
    BOOLEAN = "boolean"  # true / false
    DATETIME = "datetime"  # text, ISO 8601 in UTC: "2026-11-23T15:35:08.862Z"
    DATE = "date"  # text, "2026-11-23"
    TIME = "time"  # text, "15:35:08"
    GUID = "guid"  # text, lower case
    CHOICE = "choice"  # JSON number, one of `options`
    CHOICES = "choices"  # text, comma-separated numbers
    BINARY = "binary"  # text, base64
    TEXT = "text"  # a type Satchel does not know, carried as the text of its JSON value


class Ownership(StrEnum):
    """Who a row of an entity belongs to (Dataverse `OwnershipType`)."""

    USER = "user"  # a user or a team: ownerid, owningbusinessunit
    BUSINESS = "business"  # a business unit
    ORGANIZATION = "organization"
    NONE = "none"


class Right(StrEnum):
    """What a security privilege to change rows is for (Dataverse `PrivilegeType`)."""

    CREATE = "Create"
    WRITE = "Write"
    DELETE = "Delete"
    APPEND = "Append"  # to let its rows refer to others
    APPEND_TO = "AppendTo"  # to let others refer to its rows
    ASSIGN = "Assign"  # to give its rows to another owner


class Option(msgspec.Struct, frozen=True, omit_defaults=True):
    """One value of a choice."""

    value: int
    label: str


class Reference(msgspec.Struct, frozen=True):
    """How a lookup to one of its targets is written (`@odata.bind`)."""

    entity: str
    """The target."""
    set_name: str
    """The target's entity set."""
    navigation: str
    """The navigation property, in the metadata's spelling."""


_MICROSECONDS = 6


class Attribute(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One property of an entity. `targets` makes it a lookup."""

    name: str
    """Logical name; also the column in staging and on the device."""
    wire_name: str
    """Property or annotation in the source's JSON, such as `_primarycontactid_value`."""
    type: AttributeType
    precision: int | None = None
    """Decimal digits in all (decimal, money) or of the second's fraction (datetime); None: not declared."""
    scale: int | None = None
    """Digits after the point (decimal, money); None: variable."""
    max_length: int | None = None
    minimum: str | None = None
    maximum: str | None = None
    targets: tuple[str, ...] = ()
    """Entities a lookup may point to."""
    type_attribute: str | None = None
    """For a polymorphic lookup: the attribute that holds the target entity's name."""
    references: tuple[Reference, ...] = ()
    """How a lookup is written, one for each target; none: by its own property, as any value."""
    is_secured: bool = False
    """Only users with a permission for this attribute may read it (Dataverse column-level security)."""
    is_required: bool = False
    is_creatable: bool = True
    is_updatable: bool = True
    options: tuple[Option, ...] = ()
    label: str = ""

    @property
    def is_fine(self) -> bool:
        """A time finer than a microsecond; it is kept as text."""
        return self.type in {AttributeType.DATETIME, AttributeType.TIME} and (self.precision or 0) > _MICROSECONDS


class Entity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """One type of the source's metadata."""

    name: str
    """Logical name: `account`."""
    set_name: str
    """Entity set in URLs: `accounts`."""
    key: tuple[str, ...]
    attributes: tuple[Attribute, ...]
    ownership: Ownership = Ownership.NONE
    read_privilege: str | None = None
    """The security privilege to read it, such as `prvReadAccount`; None: everyone may."""
    privileges: Mapping[Right, str] = {}
    """The security privileges to change it; a right that is not here needs none."""
    name_attribute: str | None = None
    modified_attribute: str | None = None
    """A datetime that rises with every change (`modifiedon`, `modifiedAt`); None: the entity has none."""
    tracks_changes: bool = False
    """The source says that it hands out delta links for this entity."""
    label: str = ""

    @cached_property
    def attribute_by_name(self) -> Mapping[str, Attribute]:
        """The attributes by logical name."""
        return {attribute.name: attribute for attribute in self.attributes}

    @cached_property
    def stamps(self) -> frozenset[str]:
        """The attributes that only the source sets, such as when a row was last changed, or a calculated one."""
        return frozenset(a.name for a in self.attributes if not a.is_updatable and a.name not in self.key)

    def only(self, names: frozenset[str]) -> Entity:
        """The same entity with its key and the named attributes only, in the metadata's order."""
        kept = tuple(a for a in self.attributes if a.name in names or a.name in self.key)
        return msgspec.structs.replace(self, attributes=kept)


class Metadata(msgspec.Struct, frozen=True, dict=True):
    """All entities of an organization."""

    entities: tuple[Entity, ...]

    @cached_property
    def entity_by_name(self) -> Mapping[str, Entity]:
        """The entities by logical name."""
        return {entity.name: entity for entity in self.entities}

    @cached_property
    def digest(self) -> str:
        """A hash that is equal for equal metadata."""
        return digest_of(self)


def digest_of(value: object) -> str:
    """Hash of a value's canonical JSON, 32 hexadecimal digits."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:32]


__all__ = [
    "Attribute",
    "AttributeType",
    "Entity",
    "Key",
    "Metadata",
    "Option",
    "Ownership",
    "Reference",
    "Right",
    "digest_of",
]
