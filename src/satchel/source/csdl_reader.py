"""Reads a `$metadata` document as it arrives, chunk by chunk.

Source: OData CSDL XML 4.01. A document type declaration is refused: no entities, no expansion.
"""

from __future__ import annotations

from xml.parsers import expat

from satchel.errors import SourceMisconfigured
from satchel.source.csdl import Csdl, EntitySet, EntityType, Navigation, Property, resolved

MAX_CSDL_BYTES = 256 * 1024 * 1024

_EDM = "http://docs.oasis-open.org/odata/ns/edm"
_COLLECTION = "Collection("


class CsdlReader:
    """A sink for `$metadata`. Cost: memory for the declarations, never for the document."""

    def __init__(self) -> None:
        """Begin a document."""
        self._csdl = Csdl()
        self._aliases: dict[str, str] = {}
        self._left = MAX_CSDL_BYTES
        self._namespace = ""
        self._container = ""
        self._type: EntityType | None = None
        self._navigation: Navigation | None = None
        self._set: EntitySet | None = None
        self._term = ""
        self._is_v4 = False
        self._targets: list[str] = []
        self._path: list[str] = []
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = _refuse_doctype
        self._parser.EntityDeclHandler = _refuse_doctype

    def feed(self, chunk: bytes) -> None:
        """Take a piece. Errors: SourceMisconfigured where it is not CSDL or is too large."""
        self._left -= len(chunk)
        if self._left < 0:
            raise SourceMisconfigured("The source's metadata is larger than Satchel takes.")
        self._parse(chunk, is_final=False)

    def close(self) -> Csdl:
        """The declarations. Errors: SourceMisconfigured where the document is none of OData v4."""
        self._parse(b"", is_final=True)
        if not self._is_v4:
            raise SourceMisconfigured(
                "The source's metadata is not that of an OData v4 service.", hint="Check the URL; OData v2 is not read."
            )
        return resolved(self._csdl, self._aliases)

    def _parse(self, chunk: bytes, *, is_final: bool) -> None:
        try:
            self._parser.Parse(chunk, is_final)
        except (expat.ExpatError, KeyError) as error:
            raise SourceMisconfigured(
                "The source's metadata is not XML.", hint="Is the URL the root of an OData v4 service?"
            ) from error

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        namespace, _, name = tag.rpartition(" ")
        self._path.append(name)
        self._targets.append(self._targets[-1] if self._targets else "")
        if name == "Include" and "Alias" in attributes:
            self._aliases[attributes["Alias"]] = attributes.get("Namespace", "")
        elif namespace == _EDM:
            self._is_v4 = True
            handler = _HANDLERS.get(name)
            if handler is not None:
                handler(self, attributes)

    def _end(self, tag: str) -> None:
        name = self._path.pop()
        self._targets.pop()
        if name == "EntityType":
            self._type = None
        elif name == "NavigationProperty":
            self._navigation = None
        elif name == "EntitySet":
            self._set = None

    def _schema(self, attributes: dict[str, str]) -> None:
        self._namespace = attributes["Namespace"]
        if "Alias" in attributes:
            self._aliases[attributes["Alias"]] = self._namespace

    def _entity_type(self, attributes: dict[str, str]) -> None:
        name = f"{self._namespace}.{attributes['Name']}"
        self._type = EntityType(name=name, base=attributes.get("BaseType"))
        self._csdl.types[name] = self._type
        self._targets[-1] = name

    def _property_ref(self, attributes: dict[str, str]) -> None:
        if self._type is not None and self._path[-2:] == ["Key", "PropertyRef"]:
            self._type.key.append(attributes["Name"])

    def _property(self, attributes: dict[str, str]) -> None:
        if self._type is not None and self._path[-2:] == ["EntityType", "Property"]:
            self._type.properties.append(_property_of(attributes))
            self._targets[-1] = f"{self._type.name}/{attributes['Name']}"

    def _navigation_property(self, attributes: dict[str, str]) -> None:
        if self._type is None or self._path[-2] != "EntityType":
            return
        target, is_collection = _element_type(attributes["Type"])
        self._navigation = Navigation(name=attributes["Name"], target=target, is_collection=is_collection)
        self._type.navigations.append(self._navigation)
        self._targets[-1] = f"{self._type.name}/{attributes['Name']}"

    def _constraint(self, attributes: dict[str, str]) -> None:
        if self._navigation is not None:
            self._navigation.constraints.append((attributes["Property"], attributes["ReferencedProperty"]))

    def _definition(self, attributes: dict[str, str]) -> None:
        name = f"{self._namespace}.{attributes['Name']}"
        self._csdl.definitions[name] = _property_of({**attributes, "Type": attributes["UnderlyingType"]})

    def _entity_container(self, attributes: dict[str, str]) -> None:
        self._container = f"{self._namespace}.{attributes['Name']}"
        self._targets[-1] = self._container

    def _entity_set(self, attributes: dict[str, str]) -> None:
        self._set = EntitySet(name=attributes["Name"], type=attributes["EntityType"])
        self._csdl.sets[self._set.name] = self._set
        self._targets[-1] = f"{self._container}/{self._set.name}"

    def _binding(self, attributes: dict[str, str]) -> None:
        if self._set is not None:
            self._set.bindings[attributes["Path"]] = attributes["Target"]

    def _annotations(self, attributes: dict[str, str]) -> None:
        self._targets[-1] = attributes.get("Target", "")

    def _annotation(self, attributes: dict[str, str]) -> None:
        if {"Record", "Annotation", "Collection"} & set(self._path[:-1]):
            return  # says something of another annotation
        self._term = attributes["Term"]
        value = attributes.get("Bool") or attributes.get("String") or "true"
        self._csdl.annotations[(self._targets[-1], self._term)] = value

    def _property_value(self, attributes: dict[str, str]) -> None:
        # <Annotation Term="...ChangeTracking"><Record><PropertyValue Property="Supported" Bool="true"/>
        if attributes.get("Property") == "Supported" and self._path[-3:-1] == ["Annotation", "Record"]:
            self._csdl.annotations[(self._targets[-1], self._term)] = attributes.get("Bool", "true")


_HANDLERS = {
    "Schema": CsdlReader._schema,
    "EntityType": CsdlReader._entity_type,
    "PropertyRef": CsdlReader._property_ref,
    "Property": CsdlReader._property,
    "NavigationProperty": CsdlReader._navigation_property,
    "ReferentialConstraint": CsdlReader._constraint,
    "TypeDefinition": CsdlReader._definition,
    "EntityContainer": CsdlReader._entity_container,
    "EntitySet": CsdlReader._entity_set,
    "NavigationPropertyBinding": CsdlReader._binding,
    "Annotations": CsdlReader._annotations,
    "Annotation": CsdlReader._annotation,
    "PropertyValue": CsdlReader._property_value,
}


def _property_of(attributes: dict[str, str]) -> Property:
    element, is_collection = _element_type(attributes["Type"])
    return Property(
        name=attributes["Name"],
        type=element,
        is_collection=is_collection,
        is_nullable=attributes.get("Nullable") != "false",
        max_length=_number(attributes.get("MaxLength")),
        precision=_number(attributes.get("Precision")),
        scale=_number(attributes.get("Scale")),
    )


def _element_type(text: str) -> tuple[str, bool]:
    if text.startswith(_COLLECTION):
        return text[len(_COLLECTION) : -1], True
    return text, False


def _number(text: str | None) -> int | None:
    """A facet's number; None where it is absent or a word (`max`, `variable`, `floating`)."""
    return int(text) if text and text.isascii() and text.isdigit() else None


def _refuse_doctype(*_: object) -> None:
    raise SourceMisconfigured("The source's metadata has a document type declaration.", hint="Is it an OData service?")
