"""`$metadata`. Source: OData CSDL XML 4.01; powerapps-docs, webapi/web-api-service-documents.md."""

from __future__ import annotations

from functools import cache
from xml.sax.saxutils import quoteattr

from satchel.sandbox.schema.kinds import TEXTS, Column, Entity, Kind
from satchel.sandbox.schema.organization import BY_NAME, ENTITIES

_HEAD = """<?xml version="1.0" encoding="utf-8"?>
<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx">
  <edmx:Reference Uri="http://vocabularies.odata.org/OData.Community.Keys.V1.xml">
    <edmx:Include Namespace="OData.Community.Keys.V1" Alias="Keys" />
  </edmx:Reference>
  <edmx:DataServices>
    <Schema Namespace="Microsoft.Dynamics.CRM" Alias="mscrm" xmlns="http://docs.oasis-open.org/odata/ns/edm">
      <EntityType Name="crmbaseentity" Abstract="true" />
      <EntityType Name="principal" BaseType="mscrm.crmbaseentity" Abstract="true">
        <Key><PropertyRef Name="ownerid" /></Key>
        <Property Name="ownerid" Type="Edm.Guid" />
      </EntityType>
"""
_PRINCIPALS = ("systemuser", "team")
_TAIL = """    </Schema>
  </edmx:DataServices>
</edmx:Edmx>
"""


@cache
def metadata_document(*, has_annotations: bool) -> bytes:
    """The document; with annotations it tells which sets track changes."""
    types = "".join(_entity_type(entity) for entity in ENTITIES)
    sets = "".join(_entity_set(entity, has_annotations=has_annotations) for entity in ENTITIES)
    container = f'      <EntityContainer Name="System">\n{sets}      </EntityContainer>\n'
    return (_HEAD + types + container + _TAIL).encode()


def _entity_type(entity: Entity) -> str:
    # Users and teams are principals: key and owner property come from there, and `ownerid` leads to either.
    is_principal = entity.name in _PRINCIPALS
    base = "principal" if is_principal else "crmbaseentity"
    lines = [f'<EntityType Name="{entity.name}" BaseType="mscrm.{base}">']
    if not is_principal:
        lines.append(f'  <Key><PropertyRef Name="{entity.key}" /></Key>')
    lines += [f"  {_property(c)}" for c in entity.columns if not (is_principal and c.name == "ownerid")]
    for navigation, (column, targets) in entity.by_navigation.items():
        lines += _navigation(navigation, column, targets)
    lines.append("</EntityType>")
    return "".join(f"      {line}\n" for line in lines)


def _property(column: Column) -> str:
    facets = {"Name": column.wire, "Type": column.kind.edm}
    if column.kind in TEXTS:
        facets |= {"Unicode": "false"} if column.kind is Kind.MULTISELECT else {"MaxLength": str(column.max_length)}
    if column.kind in {Kind.MONEY, Kind.DECIMAL}:
        facets["Scale"] = "Variable"
    return f"<Property {' '.join(f'{name}={quoteattr(value)}' for name, value in facets.items())} />"


def _navigation(navigation: str, column: Column, targets: tuple[str, ...]) -> list[str]:
    if len(targets) == 1:
        target, key = targets[0], BY_NAME[targets[0]].key
    else:
        target, key = "principal", "ownerid"
    return [
        f'  <NavigationProperty Name="{navigation}" Type="mscrm.{target}" Nullable="false">',
        f'    <ReferentialConstraint Property="{column.wire}" ReferencedProperty="{key}" />',
        "  </NavigationProperty>",
    ]


def _entity_set(entity: Entity, *, has_annotations: bool) -> str:
    lines = [f'<EntitySet Name="{entity.set_name}" EntityType="Microsoft.Dynamics.CRM.{entity.name}">']
    for navigation, (_, targets) in entity.by_navigation.items():
        if len(targets) == 1:
            lines.append(f'  <NavigationPropertyBinding Path="{navigation}" Target="{BY_NAME[targets[0]].set_name}" />')
    if has_annotations and entity.tracks_changes:
        lines += [
            '  <Annotation Term="Org.OData.Capabilities.V1.ChangeTracking"><Record>',
            '    <PropertyValue Property="Supported" Bool="true" />',
            "  </Record></Annotation>",
        ]
    lines.append("</EntitySet>")
    return "".join(f"        {line}\n" for line in lines)
