"""Dataverse `EntityDefinitions`: what CSDL lacks - ownership, labels, options, exact limits.

Source: powerapps-docs, developer/data-platform/webapi/query-metadata-web-api.md. Properties of one kind of attribute
(options, precision) come only by a cast to that kind, so an entity costs one request and one for each such kind it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec

from satchel.model.metadata import Attribute, AttributeType, Entity, Option, Ownership, Right
from satchel.source.client import Client

ENTITIES_URL = (
    "EntityDefinitions?$select=LogicalName,EntitySetName,PrimaryIdAttribute,PrimaryNameAttribute,"
    "OwnershipType,ChangeTrackingEnabled,DisplayName,Privileges"
)
_ATTRIBUTES = "EntityDefinitions(LogicalName='{entity}')/Attributes"
_COMMON = (
    "?$select=LogicalName,AttributeType,AttributeTypeName,IsValidForCreate,IsValidForUpdate,IsSecured,RequiredLevel,"
    "DisplayName"
)
_OPTIONS = "?$select=LogicalName&$expand=OptionSet,GlobalOptionSet"
_CASTS = {
    "Picklist": "PicklistAttributeMetadata" + _OPTIONS,
    "State": "StateAttributeMetadata" + _OPTIONS,
    "Status": "StatusAttributeMetadata" + _OPTIONS,
    "MultiSelectPicklist": "MultiSelectPicklistAttributeMetadata" + _OPTIONS,
    "Money": "MoneyAttributeMetadata?$select=LogicalName,Precision,PrecisionSource,MinValue,MaxValue",
    "Decimal": "DecimalAttributeMetadata?$select=LogicalName,Precision,MinValue,MaxValue",
    "Integer": "IntegerAttributeMetadata?$select=LogicalName,MinValue,MaxValue",
    "String": "StringAttributeMetadata?$select=LogicalName,MaxLength",
    "Memo": "MemoAttributeMetadata?$select=LogicalName,MaxLength",
}
_KINDS = {
    "Picklist": AttributeType.CHOICE,
    "State": AttributeType.CHOICE,
    "Status": AttributeType.CHOICE,
    "MultiSelectPicklist": AttributeType.CHOICES,
    "Money": AttributeType.MONEY,
    "Memo": AttributeType.MEMO,
}
_OWNERSHIPS = {
    "UserOwned": Ownership.USER,
    "TeamOwned": Ownership.USER,
    "BusinessOwned": Ownership.BUSINESS,
    "BusinessParented": Ownership.BUSINESS,
    "OrganizationOwned": Ownership.ORGANIZATION,
}
_MONEY_SCALE = 4
"""Digits after the point that Dataverse keeps of money whose precision follows the organization or the currency."""
_FROM_ATTRIBUTE = 0


class _Text(msgspec.Struct):
    label: str | None = msgspec.field(default=None, name="Label")


class _Label(msgspec.Struct):
    text: _Text | None = msgspec.field(default=None, name="UserLocalizedLabel")


class _Value(msgspec.Struct):
    value: str | None = msgspec.field(default=None, name="Value")


class _Option(msgspec.Struct):
    value: int = msgspec.field(name="Value")
    label: _Label | None = msgspec.field(default=None, name="Label")


class _OptionSet(msgspec.Struct):
    options: list[_Option] = msgspec.field(default_factory=list, name="Options")


class _Privilege(msgspec.Struct, rename="pascal"):
    """Source: `SecurityPrivilegeMetadata`."""

    name: str = ""
    privilege_type: str = ""


class EntityDefinition(msgspec.Struct, rename="pascal"):
    """What `EntityDefinitions` says of an entity as a whole."""

    logical_name: str
    entity_set_name: str | None = None
    primary_id_attribute: str | None = None
    primary_name_attribute: str | None = None
    ownership_type: str | None = None
    change_tracking_enabled: bool | None = None
    display_name: _Label | None = None
    privileges: list[_Privilege] | None = None

    @property
    def read_privilege(self) -> str | None:
        """What a user needs to read its rows; None: nothing."""
        return next((p.name for p in self.privileges or () if p.privilege_type == "Read"), None)

    @property
    def change_privileges(self) -> Mapping[Right, str]:
        """What a user needs to change its rows, by right."""
        return {Right(p.privilege_type): p.name for p in self.privileges or () if p.privilege_type in set(Right)}

    @property
    def ownership(self) -> Ownership:
        """Who its rows belong to."""
        return _OWNERSHIPS.get(self.ownership_type or "", Ownership.NONE)

    @property
    def label(self) -> str:
        """Its name for a person."""
        return _label(self.display_name)


class _AttributeDefinition(msgspec.Struct, rename="pascal"):
    logical_name: str
    attribute_type: str | None = None
    attribute_type_name: _Value | None = None
    is_valid_for_create: bool | None = None
    is_valid_for_update: bool | None = None
    is_secured: bool | None = None
    required_level: _Value | None = None
    display_name: _Label | None = None
    option_set: _OptionSet | None = None
    global_option_set: _OptionSet | None = None
    precision: int | None = None
    precision_source: int | None = None
    min_value: Decimal | None = None
    max_value: Decimal | None = None
    max_length: int | None = None

    @property
    def kind(self) -> str:
        # Kinds younger than the AttributeType enumeration are all "Virtual" there and named only in the other property.
        named = (self.attribute_type_name.value if self.attribute_type_name else None) or ""
        return "MultiSelectPicklist" if named == "MultiSelectPicklistType" else self.attribute_type or ""


class _Entities(msgspec.Struct):
    value: list[EntityDefinition]


class _Attributes(msgspec.Struct):
    value: list[_AttributeDefinition]


async def read_definitions(client: Client) -> Mapping[str, EntityDefinition]:
    """All entities by logical name. Cost: one request (Dataverse does not page these)."""
    answer = await client.read(ENTITIES_URL, _Entities)
    return {definition.logical_name: definition for definition in answer.value}


async def with_details(client: Client, entity: Entity) -> Entity:
    """The entity with labels, options and limits of its attributes. Cost: up to ten requests."""
    base = _ATTRIBUTES.format(entity=entity.name)
    common = (await client.read(base + _COMMON, _Attributes)).value
    kinds = {definition.kind for definition in common} & _CASTS.keys()
    casts = [client.read(f"{base}/Microsoft.Dynamics.CRM.{_CASTS[kind]}", _Attributes) for kind in sorted(kinds)]
    typed = {d.logical_name: d for answer in await asyncio.gather(*casts) for d in answer.value}
    attributes = detailed(entity.attributes, common, typed)
    return msgspec.structs.replace(entity, attributes=attributes)


def detailed(
    attributes: Sequence[Attribute],
    common: Iterable[_AttributeDefinition],
    typed: Mapping[str, _AttributeDefinition],
) -> tuple[Attribute, ...]:
    """The attributes with what the definitions say of them."""
    by_name = {definition.logical_name: definition for definition in common}
    return tuple(
        _detailed(attribute, by_name[attribute.name], typed.get(attribute.name))
        if attribute.name in by_name
        else attribute
        for attribute in attributes
    )


def _detailed(attribute: Attribute, common: _AttributeDefinition, typed: _AttributeDefinition | None) -> Attribute:
    attribute = msgspec.structs.replace(
        attribute,
        type=_KINDS.get(common.kind, attribute.type),
        is_required=(common.required_level.value if common.required_level else None) == "ApplicationRequired",
        is_creatable=attribute.is_creatable and common.is_valid_for_create is not False,
        is_updatable=attribute.is_updatable and common.is_valid_for_update is not False,
        is_secured=bool(common.is_secured),
        label=_label(common.display_name),
    )
    return _limited(attribute, typed) if typed is not None else attribute


def _limited(attribute: Attribute, typed: _AttributeDefinition) -> Attribute:
    scale = typed.precision
    if attribute.type is AttributeType.MONEY and typed.precision_source not in {None, _FROM_ATTRIBUTE}:
        scale = max(scale or 0, _MONEY_SCALE)
    options = typed.option_set or typed.global_option_set or _OptionSet()
    return msgspec.structs.replace(
        attribute,
        options=tuple(Option(each.value, _label(each.label)) for each in options.options),
        scale=scale if scale is not None else attribute.scale,
        precision=_digits(typed, scale) if scale is not None else attribute.precision,
        minimum=_text(typed.min_value),
        maximum=_text(typed.max_value),
        max_length=typed.max_length or attribute.max_length,
    )


def _digits(typed: _AttributeDefinition, scale: int) -> int | None:
    """Digits in all: those of the largest whole part, and the scale."""
    limits = [abs(limit) for limit in (typed.min_value, typed.max_value) if limit is not None]
    return len(str(int(max(limits)))) + scale if limits else None


def _text(limit: Decimal | None) -> str | None:
    return None if limit is None else f"{limit.normalize():f}"


def _label(label: _Label | None) -> str:
    return (label.text.label if label and label.text else None) or ""
