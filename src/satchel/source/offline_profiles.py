"""Mobile offline profiles as Dynamics 365 keeps them, read with what they refer to.

Source: powerapps-docs, developer/data-platform/reference/entities/mobileofflineprofile.md and its neighbours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from satchel.errors import RequestRefused
from satchel.source.client import Client

Row = dict[str, Any]
_NOT_FOUND = 404


class OfflineProfileRows(msgspec.Struct, frozen=True):
    """The profiles of an organization, and rows that belong to them, all together."""

    profiles: list[Row]
    items: list[Row]
    associations: list[Row]
    filters: list[Row]
    views: list[Row]
    members: list[Row]
    relationships: list[Row]


class _Page(msgspec.Struct):
    value: list[Row]
    next_link: str | None = msgspec.field(default=None, name="@odata.nextLink")


async def read_offline_profiles(client: Client) -> OfflineProfileRows:
    """Read all of it. Cost: one request for each table, three for each entity that profiles name."""
    profiles, items, associations, filters, users, teams = await asyncio.gather(
        _rows(client, "mobileofflineprofiles"),
        _rows(client, "mobileofflineprofileitems"),
        _rows(client, "mobileofflineprofileitemassociations"),
        _rows(client, "mobileofflineprofileitemfilters", is_optional=True),
        _rows(client, "usermobileofflineprofilememberships", is_optional=True),
        _rows(client, "teammobileofflineprofilememberships", is_optional=True),
    )
    views = {str(item["_profileitemrule_value"]) for item in items if item.get("_profileitemrule_value")}
    entities = {str(item["selectedentitytypecode"]) for item in items if item.get("selectedentitytypecode")}
    return OfflineProfileRows(
        profiles,
        items,
        associations,
        filters,
        await _views(client, sorted(views)),
        users + teams,
        await _relationships(client, sorted(entities)),
    )


async def _views(client: Client, ids: Sequence[str]) -> list[Row]:
    found = await asyncio.gather(
        *(_rows(client, f"savedqueries?$filter=savedqueryid eq {each}&$select=name,fetchxml") for each in ids)
    )
    return [row for rows in found for row in rows]


async def _relationships(client: Client, entities: Sequence[str]) -> list[Row]:
    kinds = ("OneToManyRelationships", "ManyToOneRelationships", "ManyToManyRelationships")
    paths = [f"EntityDefinitions(LogicalName='{entity}')/{kind}" for entity in entities for kind in kinds]
    found = await asyncio.gather(*(_rows(client, path, is_optional=True) for path in paths))
    return [row for rows in found for row in rows]


async def _rows(client: Client, url: str, *, is_optional: bool = False) -> list[Row]:
    found: list[Row] = []
    following: str | None = url
    while following:
        try:
            page = await client.read(following, _Page)
        except RequestRefused as error:
            if is_optional and error.facts.get("status") == _NOT_FOUND:
                return found
            raise
        found += page.value
        following = page.next_link
    return found
