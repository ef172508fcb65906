"""Mobile offline profiles of Dynamics 365 as profile files.

Source: Microsoft Learn, "Set up mobile offline" (power-apps/mobile/setup-mobile-offline) and the table references of
mobileofflineprofile, ...item, ...itemassociation, ...itemfilter, savedquery, usermobileofflineprofilemembership and
teammobileofflineprofilemembership (power-apps/developer/data-platform/reference/entities).
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from satchel.access.dynamics.fetchxml import fetchxml_to_filter
from satchel.access.dynamics.fetchxml_links import LookupTarget, TypeOf
from satchel.access.dynamics.profile_toml import Value, profile_toml
from satchel.access.dynamics.relations import NAME, Relationships, Row, entity_of, id_of, text_of
from satchel.errors import ProfileInvalid

_RELATED_ONLY, _ALL, _OTHER, _CUSTOM = range(4)  # recorddistributioncriteria
_FLAGS = {"recordsownedbyme": "own", "recordsownedbymyteam": "team", "recordsownedbymybusinessunit": "unit"}
_FULL_SYNC = 2  # mobileofflineprofileitemfilter.type
_INTERVALS = range(5, 1441)
NOBODY = "nobody yet: put the names of roles here"
"""A role that does not exist: without any assignment a profile would be everyone's."""


def import_profile(
    profile: Row,
    items: Iterable[Row],
    associations: Iterable[Row],
    filters: Iterable[Row],
    *,
    relationships: Iterable[Row] = (),
    views: Iterable[Row] = (),
    members: Iterable[Row] = (),
    lookup_target: LookupTarget = lambda _entity, _attribute: None,
    type_of: TypeOf | None = None,
) -> tuple[str, tuple[str, ...]]:
    """Turn a profile's rows into a profile file, with notes on what is not carried over.

    `relationships` are rows of RelationshipDefinitions, `views` of savedquery, `members` of the two membership tables.
    Rows that belong to other profiles may be among them. Errors: ProfileInvalid where there is nothing to carry over.
    """
    importer = _Importer(Relationships(relationships, lookup_target), views, filters, lookup_target, type_of)
    return importer.run(profile, list(items), list(associations), list(members))


class _Importer:
    def __init__(
        self,
        relationships: Relationships,
        views: Iterable[Row],
        filters: Iterable[Row],
        lookup_target: LookupTarget,
        type_of: TypeOf | None,
    ) -> None:
        self._relationships = relationships
        self._views = {id_of(view, "savedqueryid"): view for view in views}
        self._filters = list(filters)
        self._lookup_target = lookup_target
        self._type_of = type_of
        self._notes: dict[str, None] = {}

    def run(
        self, profile: Row, items: list[Row], associations: list[Row], members: list[Row]
    ) -> tuple[str, tuple[str, ...]]:
        name, profile_id = text_of(profile, "name").strip(), id_of(profile, "mobileofflineprofileid")
        if not name:
            raise ProfileInvalid("The row of the mobile offline profile has no name.", hint="Read it with all columns.")
        if profile.get("componentstate") not in (None, 0):
            self._note(f"The profile {name!r} is not published: it is taken as it stands in draft.")
        kept: dict[str, Row] = {}
        for item in items:
            if not profile_id or id_of(item, "regardingobjectid") in ("", profile_id):
                self._keep(item, kept)
        if not kept:
            raise ProfileInvalid(f"The mobile offline profile {name!r} has no table that can be carried over.")
        related = self._related(kept, items, associations)
        made = [self._entity(entity, item, related[entity]) for entity, item in kept.items()]
        entities = [entity for entity in made if entity is not None]
        if not entities:
            raise ProfileInvalid(f"The mobile offline profile {name!r} has no table that can be carried over.")
        assigned = self._assigned(profile_id, members)
        return profile_toml(name, text_of(profile, "description"), assigned, entities), tuple(self._notes)

    def _note(self, text: str) -> None:
        self._notes[text] = None

    def _keep(self, item: Row, kept: dict[str, Row]) -> None:
        entity = entity_of(item, "selectedentitytypecode")
        if not entity:
            self._note(f"The item {text_of(item, 'name') or '?'!r} names no table: it is left out.")
        elif entity in kept:
            self._note(f"{entity}: a second item of this table is left out; compare the two in Dataverse.")
        else:
            kept[entity] = item

    def _related(self, kept: dict[str, Row], items: list[Row], associations: list[Row]) -> dict[str, list[str]]:
        """The paths of each entity. Dataverse keeps them with the parent; here they stand with the rows brought in."""
        related: dict[str, list[str]] = {entity: [] for entity in kept}
        entity_by_item = {id_of(item, "mobileofflineprofileitemid"): entity for entity, item in kept.items()}
        others = {id_of(item, "mobileofflineprofileitemid") for item in items} - entity_by_item.keys()
        for association in associations:
            name = text_of(association, "relationshipdisplayname", "name", "relationshipname") or "without a name"
            item_id = id_of(association, "mobileofflineprofileitemid", "regardingobjectid")
            if item_id in others:
                continue
            if not item_id or item_id not in entity_by_item:
                self._note(f"The relationship {name!r} belongs to an item that was not read: it is left out.")
                continue
            parent = entity_by_item[item_id]
            relationship = self._relationships.of(association)
            found = self._relationships.path(relationship, parent) if relationship else None
            if found is None:
                why = (
                    "leads from the table to itself or does not touch it"
                    if relationship
                    else "is not among the relationships of the source; it may stand for a file or image column"
                )
                self._note(f"{parent}: {name!r} {why}. Its rows are not brought in.")
                continue
            child, path = found
            if child not in related:
                self._note(
                    f"{parent}: {name!r} brings in rows of {child}, which the profile does not have. Add {child}."
                )
            elif path not in related[child]:
                related[child].append(path)
            if text_of(association, "profileitemassociationentityfilter"):
                self._note(f"{parent}: the filter of the relationship {name!r} is not carried over; check {child}.")
            if kept[parent].get("getrelatedentityrecords") is False:
                self._note(f"{parent}: related rows are turned off in Dataverse, yet relationships are chosen: kept.")
        return related

    def _entity(self, entity: str, item: Row, related: list[str]) -> dict[str, Value] | None:
        columns = self._columns(entity, item)
        if columns is None:
            return None
        rows, text = self._rows(entity, item, related)
        table: dict[str, Value] = {"name": entity, "columns": columns, "rows": rows, "filter": text}
        if related and "all" in rows:
            self._note(f"{entity}: all rows go offline, so the relationships to it bring nothing more: left out.")
            related = []
        if text and related:
            table["combine"] = "or"
        table["related"] = related
        interval = item.get("syncintervalinminutes")
        if isinstance(interval, int) and interval in _INTERVALS:
            table["sync_interval_minutes"] = interval
        elif interval is not None:
            self._note(f"{entity}: the sync interval {interval!r} is not one from 5 to 1,440 minutes: left out.")
        if item.get("canbefollowed") is True:
            self._note(f"{entity}: that users may follow rows is not carried over.")
        return table

    def _rows(self, entity: str, item: Row, related: list[str]) -> tuple[list[str], str]:
        criteria = item.get("recorddistributioncriteria")
        if criteria == _ALL:
            return ["all"], ""
        if criteria == _OTHER:
            rows = [rows for flag, rows in _FLAGS.items() if item.get(flag) is True]
            if rows:
                return rows, ""
            self._note(f"{entity}: neither own nor team's nor unit's rows are chosen: only related rows go offline.")
        elif criteria == _CUSTOM:
            text = self._custom(entity, item)
            if text is not None:
                return (["custom"], text) if text else (["all"], "")
        elif criteria != _RELATED_ONLY:
            self._note(f"{entity}: the data download filter {criteria!r} is not known: only related rows go offline.")
        if not related:
            self._note(f"{entity}: no rows go offline: only related rows would, and no relationship leads to it.")
        return ["related"], ""

    def _custom(self, entity: str, item: Row) -> str | None:
        """The filter of a custom item; empty: all rows; None: it cannot be carried over."""
        query, origin = self._query(entity, item)
        if not query:
            self._note(f"{entity}: the custom filter was not found. Write it by hand: only related rows go offline.")
            return None
        try:
            found = fetchxml_to_filter(query, entity, self._lookup_target, self._type_of)
        except ProfileInvalid as refusal:
            self._note(
                f"{entity}: the filter of {origin} cannot be carried over, so only related rows go offline. "
                f"{refusal.message} {refusal.hint}".rstrip()
            )
            return None
        for note in found.notes:
            self._note(f"{entity}: {note}")
        if not found.filter:
            self._note(f"{entity}: the filter of {origin} asks nothing, so all rows go offline.")
        return found.filter

    def _query(self, entity: str, item: Row) -> tuple[str, str]:
        """The FetchXML of a custom item: its view's, else its own, else what Dataverse made of it for a full sync."""
        view_id = id_of(item, "profileitemrule")
        view = self._views.get(view_id) if view_id else None
        if view and (query := text_of(view, "fetchxml")):
            return query, f"the view {text_of(view, 'name') or view_id!r}"
        if view_id:
            self._note(f"{entity}: the view {view_id} was not read; the item's own filter is taken if it has one.")
        if query := text_of(item, "profileitementityfilter"):
            return query, "the item"
        item_id = id_of(item, "mobileofflineprofileitemid")
        made = [
            query
            for row in self._filters
            if row.get("type") == _FULL_SYNC
            and item_id
            and id_of(row, "mobileofflineprofileitemid") == item_id
            and (query := text_of(row, "fetchxml"))
        ]
        if len(made) == 1:
            self._note(
                f"{entity}: the filter is the one that Dataverse made for a full sync; compare it with the profile."
            )
            return made[0], "the full sync"
        return "", ""

    def _columns(self, entity: str, item: Row) -> list[str] | None:
        """`selectedcolumns` holds JSON: {"Columns": ["fullname", ...]}. None: it cannot be told which were chosen."""
        text = text_of(item, "selectedcolumns")
        if not text:
            return []
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            value = value.get("Columns", value.get("columns"))
        if not isinstance(value, list):
            self._note(f"{entity}: the chosen columns could not be read, so the table is left out. Add it by hand.")
            return None
        columns = [column.strip().lower() for column in value if isinstance(column, str)]
        good = [column for column in dict.fromkeys(columns) if NAME.fullmatch(column)]
        if not good:
            self._note(f"{entity}: no column is chosen by a usable name, so the table is left out. Add it by hand.")
            return None
        if len(good) < len(set(columns)) or len(columns) < len(value):
            self._note(f"{entity}: some of the chosen columns have no usable name and are left out.")
        return good

    def _assigned(self, profile_id: str, members: list[Row]) -> dict[str, list[str]]:
        """Users and teams of the active memberships."""
        mine = [
            row
            for row in members
            if id_of(row, "mobileofflineprofileid") in ("", profile_id) and row.get("statecode") in (None, 0)
        ]
        users = list(dict.fromkeys(filter(None, (id_of(row, "systemuserid") for row in mine))))
        teams = list(dict.fromkeys(filter(None, (id_of(row, "teamid") for row in mine))))
        if not users and not teams:
            self._note("The profile is assigned to nobody in Dataverse. Say in [assigned] who gets it.")
            return {"roles": [NOBODY]}
        return {"users": users, "teams": teams}
