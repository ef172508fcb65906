"""The joins of FetchXML (`link-entity`) as steps of a filter: a path along a lookup, or `any` over rows pointing here.

Source: Microsoft Learn, "Join tables using FetchXml" (power-apps/developer/data-platform/fetchxml/join-tables).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from satchel.access.dynamics.fetchxml_tree import Node, refused
from satchel.model.metadata import AttributeType

LookupTarget = Callable[[str, str], str | tuple[str, ...] | None]
"""Entity and attribute to the entity that the lookup points to; several for a polymorphic one; None: no lookup."""
TypeOf = Callable[[str, str], AttributeType | None]
"""Entity and attribute to the attribute's type; None: not known."""

MAX_LINKS = 15
MAX_LINK_LEVELS = 2
INNER = {"inner", "exists", "in"}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_ATTRIBUTES = {"name", "from", "to", "link-type", "alias", "intersect", "visible", "enableprefiltering"}
_HINT_FILTER = "Take the join out of the view, or write the filter of this entity by hand."


@dataclass(frozen=True, slots=True)
class Scope:
    """Where conditions stand: the entity and what its attributes begin with in the filter."""

    entity: str
    prefix: str = ""
    link_level: int = 0
    variable_count: int = 0
    is_intersect: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One join: `head` is the path to the linked row, or the collection that `any` runs over."""

    scope: Scope
    head: str
    variable: str
    proof: str
    """The attribute that has a value exactly if there is a linked row."""

    @property
    def is_any(self) -> bool:
        """Whether the linked rows point here."""
        return bool(self.variable)


def name_of(node: Node, attribute: str, *, default: str | None = None) -> str:
    """An attribute that names an entity, a column or an alias."""
    value = node.attributes.get(attribute, default)
    if value is None:
        raise refused(node.line, f"<{node.name}> lacks {attribute}.")
    if _NAME.fullmatch(value) is None:
        raise refused(node.line, f"{attribute}={value[:60]!r} is not a name.", "Use logical names, such as statecode.")
    return value.lower()


def known_attributes(node: Node, known: set[str], hints: dict[str, str] | None = None) -> None:
    """Refuse an element's attributes that are not known, for they may change which rows it stands for."""
    for attribute in node.attributes:
        if attribute not in known:
            hint = (hints or {}).get(attribute, "Take it out of the query.")
            raise refused(node.line, f"<{node.name} {attribute}=...> cannot be carried over.", hint)


def targets(lookup_target: LookupTarget, entity: str, attribute: str) -> tuple[str, ...]:
    """The entities a lookup points to; none: it is no lookup."""
    found = lookup_target(entity, attribute)
    return () if found is None else (found,) if isinstance(found, str) else tuple(found)


def lookup_step(lookup: str, target: str, lookup_targets: tuple[str, ...]) -> str:
    """A lookup as a step of a path; a polymorphic one names its target."""
    return f"{lookup}_{target}" if len(lookup_targets) > 1 else lookup


def link_type(link: Node) -> str:
    """The kind of a join. Errors: ProfileInvalid for those that are neither inner nor outer."""
    kind = link.attributes.get("link-type", "inner")
    if kind not in INNER | {"outer"}:
        raise refused(link.line, f"link-type={kind[:60]!r} cannot be carried over.", f"Use inner. {_HINT_FILTER}")
    return kind


def link_step(link: Node, scope: Scope, lookup_target: LookupTarget, type_of: TypeOf) -> Step:
    """The step that a join comes to. Errors: ProfileInvalid where it does not run along a lookup."""
    known_attributes(link, _ATTRIBUTES)
    if scope.link_level >= MAX_LINK_LEVELS:
        raise refused(link.line, f"joins are nested deeper than {MAX_LINK_LEVELS} levels.", _HINT_FILTER)
    entity, there, here = name_of(link, "name"), name_of(link, "from"), name_of(link, "to")
    is_intersect = link.attributes.get("intersect", "").lower() in {"true", "1"}
    here_targets = targets(lookup_target, scope.entity, here)
    there_targets = targets(lookup_target, entity, there)
    # The columns of an intersection are not always declared as lookups: they are named after the keys of both sides.
    leads_there = entity in here_targets or (scope.is_intersect and here == there)
    leads_here = scope.entity in there_targets or (is_intersect and here == there)
    level = scope.link_level + 1
    if leads_there and not there_targets and _is_key(entity, there, type_of):
        head = f"{scope.prefix}{lookup_step(here, entity, here_targets)}"
        linked = Scope(entity, f"{head}/", level, scope.variable_count)
        return Step(linked, head, "", f"{head}/{there}")
    if leads_here and not here_targets and _is_key(scope.entity, here, type_of):
        count = scope.variable_count + 1
        variable = "r" if count == 1 else f"r{count}"
        linked = Scope(entity, f"{variable}/", level, count, is_intersect)
        return Step(linked, f"{scope.prefix}{entity}.{there}", variable, f"{variable}/{there}")
    raise refused(
        link.line,
        f"{entity}.{there} is joined with {scope.entity}.{here}, which is not a lookup with the row it points to.",
        f"Join along a lookup: its column on one side, the key on the other. {_HINT_FILTER}",
    )


def _is_key(entity: str, attribute: str, type_of: TypeOf) -> bool:
    """Keys are named after the entity, those of activities `activityid`; elsewhere an id that is no lookup is one."""
    return attribute in {f"{entity}id", "activityid"} or type_of(entity, attribute) is AttributeType.GUID
