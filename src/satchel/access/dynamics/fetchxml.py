"""The filter of a FetchXML query as the filter of a profile's entity.

Source: Microsoft Learn, "Filter rows using FetchXml" (power-apps/developer/data-platform/fetchxml/filter-rows); for
offline profiles "Set up mobile offline" (power-apps/mobile/setup-mobile-offline): filters up to three levels.
"""

from __future__ import annotations

from dataclasses import dataclass

from satchel.access.dynamics.fetchxml_links import (
    INNER,
    MAX_LINKS,
    LookupTarget,
    Scope,
    TypeOf,
    known_attributes,
    link_step,
    link_type,
    name_of,
)
from satchel.access.dynamics.fetchxml_operators import Condition, condition_text
from satchel.access.dynamics.fetchxml_tree import Node, read_tree, refused
from satchel.errors import ProfileInvalid

MAX_FILTER_LEVELS = 3
MAX_CONDITIONS = 500

_LIMITS = ("top", "count", "page", "paging-cookie")
_FETCH = {
    *("version", "output-format", "mapping", "distinct", "no-lock", "returntotalrecordcount", "savedqueryid"),
    *("min-active-row-version", "utc-offset", "useraworderby", "latematerialize", "options", "aggregate", *_LIMITS),
}
_FILTER = {"type", "hint"}
_CONDITION = {"attribute", "operator", "value", "entityname", "uiname", "uitype", "uihidden"}
_HINT_COLUMNS = "Two columns cannot be compared; compare each with a value."
_IGNORED = {"attribute", "all-attributes", "no-attrs", "order"}
"""Elements that say which columns are read, or in which order; they leave the rows as they are."""


@dataclass(frozen=True, slots=True)
class FetchFilter:
    """What a query comes to. An empty filter: every row."""

    entity: str
    filter: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Clause:
    """A piece of the filter. `rejects_missing`: it does not hold where the row it speaks of is missing."""

    text: str
    joiner: str = ""
    rejects_missing: bool = True


def fetchxml_to_filter(
    text: str, entity: str, lookup_target: LookupTarget, type_of: TypeOf | None = None
) -> FetchFilter:
    """Turn the <filter> and the joins of a query of `entity` into one filter.

    Errors: ProfileInvalid with the line, what cannot be carried over and what to do.
    """
    converter = _Converter(lookup_target, type_of or (lambda _entity, _attribute: None))
    root = read_tree(text)
    clause = converter.root(root, entity.lower())
    return FetchFilter(entity.lower(), clause.text if clause else "", tuple(converter.notes))


class _Converter:
    def __init__(self, lookup_target: LookupTarget, type_of: TypeOf) -> None:
        self.notes: dict[str, None] = {}
        self._lookup_target = lookup_target
        self._type_of = type_of
        self._aliases: dict[str, Scope | None] = {}
        self._conditions = 0
        self._links = 0

    def root(self, root: Node, entity: str) -> _Clause | None:
        if root.name == "filter":  # a filter alone, as the designer of views keeps it
            return self._filter(root, Scope(entity), 1)
        if root.name != "fetch":
            raise refused(root.line, f"<{root.name[:60]}> is not a FetchXML query.", "It begins with <fetch>.")
        known_attributes(root, _FETCH, {"datasource": "Rows of the archive do not go offline."})
        if root.attributes.get("aggregate", "").lower() in {"true", "1"}:
            raise refused(root.line, "a query that aggregates has no rows to take offline.", "Use a plain view.")
        if any(name in root.attributes for name in _LIMITS):
            self._note("The query's limit on the number of rows (top, count, page) is not carried over.")
        if len(root.children) != 1 or root.children[0].name != "entity":
            raise refused(root.line, "<fetch> needs one <entity> and nothing else.")
        node = root.children[0]
        known_attributes(node, {"name", "enableprefiltering", "prefilterparametername"})
        if name_of(node, "name") != entity:
            raise refused(node.line, f"the query reads {name_of(node, 'name')!r}, not {entity!r}.")
        self._learn_aliases(node, Scope(entity))
        return self._rows(node, Scope(entity))

    def _note(self, text: str) -> None:
        self.notes[text] = None

    def _learn_aliases(self, node: Node, scope: Scope) -> None:
        """Conditions may name a join by its alias; only along a path is it one row, so only there it can be named."""
        for link in node.named("link-entity"):
            alias = name_of(link, "alias", default=link.attributes.get("name"))
            linked = self._one_row(link, scope) if alias not in self._aliases else None
            self._aliases[alias] = linked
            if linked:
                self._learn_aliases(link, linked)

    def _one_row(self, link: Node, scope: Scope) -> Scope | None:
        """The scope of a joined row if a path leads to it and nothing but the path decides whether it is there."""
        is_outer = link_type(link) == "outer"
        if is_outer and link.named("filter"):
            return None
        try:
            step = link_step(link, scope, self._lookup_target, self._type_of)
        except ProfileInvalid:
            if is_outer:  # it only shows columns as long as no condition names it
                return None
            raise
        return None if step.is_any else step.scope

    def _rows(self, node: Node, scope: Scope) -> _Clause | None:
        """What an entity's filters and joins ask of its rows."""
        clauses: list[_Clause | None] = []
        for child in node.children:
            if child.name == "filter":
                clauses.append(self._filter(child, scope, 1))
            elif child.name == "link-entity":
                clauses.append(self._link(child, scope))
            elif child.name not in _IGNORED:
                raise refused(child.line, f"<{child.name[:60]}> cannot be carried over.", "Take it out of the query.")
        return _joined("and", clauses)

    def _link(self, link: Node, scope: Scope) -> _Clause | None:
        self._links += 1
        if self._links > MAX_LINKS:
            raise refused(link.line, f"there are more than {MAX_LINKS} joins.", "Dataverse allows no more either.")
        if link_type(link) == "outer":
            self._outer(link)
            return None
        step = link_step(link, scope, self._lookup_target, self._type_of)
        wanted = self._rows(link, step.scope)
        if wanted is None or not wanted.rejects_missing:
            wanted = _joined("and", [_Clause(f"{step.proof} ne null"), wanted])
        if wanted and step.is_any:
            return _Clause(f"{step.head}/any({step.variable}: {wanted.text})")
        return wanted

    def _outer(self, link: Node) -> None:
        """An outer join leaves the rows as they are, unless one within does not."""
        for inner in link.named("link-entity"):
            if link_type(inner) in INNER:
                raise refused(inner.line, "an inner join within an outer one cannot be carried over.", "Use inner.")
            self._outer(inner)

    def _filter(self, node: Node, scope: Scope, level: int) -> _Clause | None:
        if level > MAX_FILTER_LEVELS:
            raise refused(
                node.line,
                f"filters are nested deeper than {MAX_FILTER_LEVELS} levels.",
                "Offline profiles of Dataverse allow three levels; bring conditions together.",
            )
        known_attributes(node, _FILTER, {"isquickfindfields": "A quick search is no filter; use another view."})
        joiner = node.attributes.get("type", "and").lower()
        if joiner not in {"and", "or"}:
            raise refused(node.line, f"<filter type={joiner[:60]!r}> is neither and nor or.")
        clauses: list[_Clause | None] = []
        for child in node.children:
            if child.name == "condition":
                clauses.append(self._condition(child, scope))
            elif child.name == "filter":
                clauses.append(self._filter(child, scope, level + 1))
            else:
                hint = "Put the join beside the filter, with link-type inner." if child.name == "link-entity" else ""
                raise refused(child.line, f"<{child.name[:60]}> within a filter cannot be carried over.", hint)
        return _joined(joiner, clauses)

    def _condition(self, node: Node, scope: Scope) -> _Clause:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise refused(node.line, f"there are more than {MAX_CONDITIONS} conditions.")
        known_attributes(node, _CONDITION, {"valueof": _HINT_COLUMNS})
        attribute, operator = name_of(node, "attribute"), node.attributes.get("operator", "")
        if not operator:
            raise refused(node.line, f"the condition on {attribute!r} lacks its operator.")
        own = scope if "entityname" not in node.attributes else self._named_scope(node, scope)
        values = [node.attributes["value"]] if "value" in node.attributes else []
        for child in node.children:
            if child.name != "value" or child.children:
                raise refused(child.line, f"<{child.name[:60]}> within a condition cannot be carried over.")
            values.append(child.text)
        kind = self._type_of(own.entity, attribute)
        path = own.prefix + attribute
        text = condition_text(Condition(path, operator[:60], tuple(values), kind, node.line, self._note))
        return _Clause(text, rejects_missing=own is scope and operator != "null")

    def _named_scope(self, node: Node, here: Scope) -> Scope:
        alias = name_of(node, "entityname")
        scope = None if here.variable_count else self._aliases.get(alias)
        if scope is None:
            raise refused(
                node.line,
                f"entityname={alias!r} does not name a joined row that a lookup of this entity leads to.",
                "Put the condition into the <filter> of that <link-entity>.",
            )
        return scope


def _joined(joiner: str, clauses: list[_Clause | None]) -> _Clause | None:
    """Clauses by `and` or `or`; none at all ask nothing."""
    kept = [clause for clause in clauses if clause is not None]
    if len(kept) <= 1:
        return kept[0] if kept else None
    texts = [c.text if c.joiner in {"", joiner} else f"({c.text})" for c in kept]
    rejects = (any if joiner == "and" else all)(c.rejects_missing for c in kept)
    return _Clause(f" {joiner} ".join(texts), joiner, rejects)
