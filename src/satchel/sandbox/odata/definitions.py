"""`EntityDefinitions`: the metadata as data. Source: powerapps-docs, webapi/query-metadata-web-api.md.

Filtered with the operators that metadata allows (eq, ne, and, or, not, in), selected, attributes expanded or cast.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from typing import Any

from satchel.sandbox.odata.answers import Answer, ODataError, Request
from satchel.sandbox.odata.metadata_filter import metadata_filter
from satchel.sandbox.schema.directory import RIGHTS, privilege_name
from satchel.sandbox.schema.kinds import CHOICES, TEXTS, Column, Entity, Kind
from satchel.sandbox.schema.organization import BY_NAME, ENTITIES

_PATH = re.compile(
    r"^EntityDefinitions(?:\((?:LogicalName='(?P<name>\w+)'|(?P<id>[0-9a-fA-F-]{36}))\))?"
    r"(?:/(?P<part>Attributes|ManyToOneRelationships|OneToManyRelationships|ManyToManyRelationships|Keys)"
    r"(?:\(LogicalName='(?P<attribute>\w+)'\))?(?:/Microsoft\.Dynamics\.CRM\.(?P<cast>\w+))?)?$"
)
_EXPAND = re.compile(r"(\w+)(?:\(([^()]*(?:\([^()]*\)[^()]*)*)\))?")
_SPACE = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
_NAMESPACE = "Microsoft.Dynamics.CRM."
_PARTS = ("Attributes", "ManyToOneRelationships", "OneToManyRelationships", "ManyToManyRelationships", "Keys")
_ALWAYS = {"MetadataId", "@odata.type"}
_OPTION_SETS = {"OptionSet", "GlobalOptionSet"}
Definition = dict[str, Any]


def answer_definitions(request: Request) -> Answer | None:
    """The answer, or None where the path is another one. Errors: ODataError."""
    match = _PATH.match(request.path)
    if match is None:
        return None
    context = f"{request.root}$metadata#EntityDefinitions"
    if match["name"] is None and match["id"] is None:
        return _listed(context, [entity_definition(entity) for entity in ENTITIES], request)
    entity = _entity(match)
    if match["part"] is None:
        definition = _shaped(entity_definition(entity), request)
        return Answer.json({"@odata.context": f"{context}/$entity", **definition})
    items = _part(entity, match["part"], match["cast"])
    if match["attribute"] is None:
        return _listed(f"{context}('{entity.name}')/{match['part']}", items, request)
    found = [item for item in items if item["LogicalName"] == match["attribute"]]
    if not found:
        raise ODataError(404, "0x80060888", f"Could not find an attribute {match['attribute']} of {entity.name}.")
    return Answer.json({"@odata.context": f"{context}/Attributes/$entity", **_shaped(found[0], request)})


def entity_definition(entity: Entity) -> Definition:
    """An entity, with its parts under names that only `$expand` shows."""
    return {
        "MetadataId": _id(entity.name),
        "LogicalName": entity.name,
        "SchemaName": entity.schema_name,
        "EntitySetName": entity.set_name,
        "LogicalCollectionName": entity.set_name,
        "CollectionSchemaName": entity.plural,
        "ObjectTypeCode": entity.type_code,
        "PrimaryIdAttribute": entity.key,
        "PrimaryNameAttribute": entity.name_column,
        "OwnershipType": entity.ownership,
        "ChangeTrackingEnabled": entity.tracks_changes,
        "CanChangeTrackingBeEnabled": {"Value": True, "CanBeChanged": True},
        "IsOptimisticConcurrencyEnabled": True,
        "IsCustomEntity": False,
        "IsActivity": entity.name == "task",
        "IsPrivate": False,
        "Privileges": _privileges(entity),
        "DisplayName": _label(entity.label),
        "DisplayCollectionName": _label(entity.plural),
        "Description": _label(""),
    }


def _privileges(entity: Entity) -> list[Definition]:
    """Source: `SecurityPrivilegeMetadata`. Entities that belong to nobody have none."""
    if entity.ownership == "None":
        return []
    every_depth = {"CanBeBasic": entity.is_user_owned, "CanBeLocal": True, "CanBeDeep": True, "CanBeGlobal": True}
    return [
        {
            "Name": (name := privilege_name(entity, right)),
            "PrivilegeId": _id(name),
            "PrivilegeType": right,
            "CanBeEntityReference": False,
            "CanBeParentEntityReference": False,
            **every_depth,
        }
        for right in RIGHTS
    ]


def attribute_definition(entity: Entity, column: Column) -> Definition:
    """An attribute, with what its kind adds."""
    return {
        "@odata.type": f"#{column.kind.cast}",
        "MetadataId": _id(f"{entity.name}.{column.name}"),
        "LogicalName": column.name,
        "SchemaName": column.name.title(),
        "EntityLogicalName": entity.name,
        "AttributeType": column.kind.type_name,
        "AttributeTypeName": {"Value": column.kind.type_name_value},
        "AttributeOf": None,
        "IsPrimaryId": column.name == entity.key,
        "IsPrimaryName": column.name == entity.name_column,
        "IsCustomAttribute": False,
        "IsLogical": False,
        "IsSecured": column.is_secured,
        "IsValidForCreate": column.is_writable,
        "IsValidForRead": True,
        "IsValidForUpdate": column.is_writable and column.name != entity.key,
        "RequiredLevel": {"Value": _required_level(column), "CanBeChanged": True},
        "DisplayName": _label(column.label),
        "Description": _label(""),
        **_of_kind(column),
    }


def _required_level(column: Column) -> str:
    """What the platform fills by itself is its own business: owner, state, key."""
    if not column.is_required:
        return "None"
    is_given = column.name == "ownerid" or column.kind in {Kind.STATE, Kind.GUID}
    return "SystemRequired" if is_given else "ApplicationRequired"


def _of_kind(column: Column) -> Definition:
    match column.kind:
        case Kind.MONEY:
            limits = {"MinValue": column.minimum, "MaxValue": column.maximum}
            return {"Precision": column.precision, "PrecisionSource": 0, "IsBaseCurrency": False, **limits}
        case Kind.DECIMAL | Kind.DOUBLE:
            return {"Precision": column.precision, "MinValue": column.minimum, "MaxValue": column.maximum}
        case Kind.INTEGER:
            return {"MinValue": int(column.minimum), "MaxValue": int(column.maximum), "Format": column.format}
        case Kind.DATETIME:
            return {"Format": "DateAndTime", "DateTimeBehavior": {"Value": "UserLocal"}}
        case Kind.DATE:
            return {"Format": "DateOnly", "DateTimeBehavior": {"Value": "DateOnly"}}
        case kind if kind in CHOICES or kind is Kind.MULTISELECT:
            return {"OptionSet": {"Options": [_option(*option) for option in column.options]}, "GlobalOptionSet": None}
        case kind if kind in TEXTS:
            return {"MaxLength": column.max_length, "Format": column.format}
    return {"Targets": list(column.targets)} if column.is_lookup else {}


def _part(entity: Entity, part: str, cast: str | None) -> list[Definition]:
    if part == "Attributes":
        items = [attribute_definition(entity, column) for column in entity.columns]
        return [i for i in items if cast is None or i["@odata.type"] == f"#Microsoft.Dynamics.CRM.{cast}"]
    if part == "ManyToOneRelationships":
        return [_relationship(entity, name) for name in entity.by_navigation]
    if part == "OneToManyRelationships":
        found = [
            (other, name)
            for other in ENTITIES
            for name, (_, targets) in other.by_navigation.items()
            if entity.name in targets
        ]
        return [_relationship(other, name) for other, name in found]
    return []


def _relationship(entity: Entity, navigation: str) -> Definition:
    column, targets = entity.by_navigation[navigation]
    target = BY_NAME[targets[0]]
    return {
        "MetadataId": _id(f"{entity.name}.{navigation}"),
        "SchemaName": f"{entity.name}_{navigation}",
        "ReferencingEntity": entity.name,
        "ReferencingAttribute": column.name,
        "ReferencingEntityNavigationPropertyName": navigation,
        "ReferencedEntity": target.name,
        "ReferencedAttribute": target.key,
    }


def _listed(context: str, items: Iterable[Definition], request: Request) -> Answer:
    matching = _filtered(items, request.query.get("$filter"))
    return Answer.json({"@odata.context": context, "value": [_shaped(item, request) for item in matching]})


def _filtered(items: Iterable[Definition], text: str | None) -> list[Definition]:
    test = metadata_filter(text) if text else None
    return [item for item in items if test is None or test(item)]


def _shaped(item: Definition, request: Request) -> Definition:
    """An item as `$select` and `$expand` want it. Errors: ODataError 400."""
    expand = dict(_EXPAND.findall(request.query.get("$expand", "")))
    select = _names(request.query.get("$select", ""))
    is_attribute = "AttributeType" in item
    unknown = sorted(select - item.keys() - _OPTION_SETS)
    if unknown and not is_attribute:
        raise ODataError(
            400, "0x0", f"Could not find a property named '{unknown[0]}' on type '{_NAMESPACE}EntityMetadata'."
        )
    kept = select | _ALWAYS | expand.keys()
    shaped = {name: value for name, value in item.items() if not select or name in kept}
    if is_attribute:
        return {name: value for name, value in shaped.items() if name in expand or name not in _OPTION_SETS}
    parts = {part: _expanded(BY_NAME[item["LogicalName"]], part, options) for part, options in expand.items()}
    return shaped | parts


def _expanded(entity: Entity, part: str, text: str) -> list[Definition]:
    options = {name.strip(): value for name, _, value in (one.partition("=") for one in text.split(";")) if value}
    unknown = sorted(options.keys() - {"$select", "$filter"})
    if unknown or part not in _PARTS:
        raise ODataError(400, "0x80060888", f"$expand does not know {(unknown or [part])[0][:50]} here.")
    names = _names(options.get("$select", ""))
    items = _filtered(_part(entity, part, None), options.get("$filter"))
    return [{name: value for name, value in item.items() if not names or name in names | _ALWAYS} for item in items]


def _names(text: str) -> set[str]:
    return {name.strip() for name in text.split(",") if name.strip()}


def _entity(match: re.Match[str]) -> Entity:
    found = BY_NAME.get(match["name"] or "")
    if match["id"]:
        found = next((entity for entity in ENTITIES if _id(entity.name) == match["id"].lower()), None)
    if found is None:
        wanted = match["name"] or match["id"]
        raise ODataError(404, "0x80060888", f"Could not find an entity with name {wanted} in the metadata.")
    return found


def _option(value: int, label: str) -> Definition:
    return {"Value": value, "Label": _label(label), "IsManaged": True}


def _label(text: str) -> Definition:
    label = {"Label": text, "LanguageCode": 1033}
    return {"LocalizedLabels": [label], "UserLocalizedLabel": label}


def _id(name: str) -> str:
    return str(uuid.uuid5(_SPACE, name))
