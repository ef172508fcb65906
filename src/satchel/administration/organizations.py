"""Organizations: registered, watched, and devices invited."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from urllib.parse import urlsplit

import msgspec

from satchel.access.profiles import parse_profile
from satchel.assembly import Rooms
from satchel.buckets.families import standing_families
from satchel.buckets.snapshots import count_snapshots
from satchel.database.pool import Connection as DatabaseConnection
from satchel.database.server import database_bytes
from satchel.errors import InputInvalid, SatchelError, SettingInvalid, UserUnknown
from satchel.identity.certificates import fingerprint_of
from satchel.identity.sign_in import sign_in_of
from satchel.journal.look import Count, count_sets
from satchel.model.changes import SourceInfo, Strategy
from satchel.model.scope import Scope
from satchel.model.work import WorkName
from satchel.model.writes import Abilities
from satchel.protocol.enrolment import SignInPlace, format_link, format_place
from satchel.provisioning.organizations import NewOrganization, Organization, check_name
from satchel.source.connection import Connection
from satchel.staging.abilities import read_abilities
from satchel.staging.head import Head, Scopes, read_head, read_scope, read_scopes
from satchel.staging.principals import find_users, read_user
from satchel.staging.rows import staged_count, unusable_count
from satchel.staging.watermark import StoredWatermark, being_read, read_all

POLL_SECONDS = 0.2


class EntityStatus(msgspec.Struct, frozen=True):
    """How one entity stands."""

    entity: str
    rows: int
    strategy: Strategy | None
    pulled_at: datetime | None
    state: str
    problem: str | None
    unusable_rows: int


class OrganizationStatus(msgspec.Struct, frozen=True):
    """How an organization stands."""

    name: str
    state: str
    problem: str | None
    source: str
    kind: str
    head: Head | None
    entities: list[EntityStatus]
    preparing: list[str] = []
    """What published profiles still wait for before they come into force."""
    edits: list[Count] = []
    """Edit sets of devices, by state."""
    abilities: Abilities | None = None
    """What the source can do for edits."""
    size_bytes: int = 0
    """Of the staging database, with its indexes."""
    snapshots: dict[str, int] = {}
    """Sealed images of buckets: `current`, and `retired` ones kept for downloads under way."""


async def add_organization(rooms: Rooms, name: str, connection: Connection, profile: str) -> tuple[SourceInfo, Scope]:
    """Check source and profile, then register. Errors: as `Rooms.check`, OrganizationExists; nothing is saved then."""
    check_name(name)
    info, _, scope = await rooms.check(connection, [profile])
    await rooms.organizations.add(
        NewOrganization(
            name,
            connection.kind,
            connection.service_root,
            rooms.seal_connection(name, connection),
            parse_profile(profile).name,
            profile,
            _tenants(connection),
        )
    )
    return info, scope


async def wait_until_provisioned(rooms: Rooms, name: str) -> AsyncIterator[tuple[Organization, set[str]]]:
    """The organization and its finished steps, a few times a second, until it is active."""
    while True:
        organization = await rooms.organizations.get(name)
        yield organization, await rooms.organizations.steps_done(organization)
        if organization.state == "active":
            return
        await asyncio.sleep(POLL_SECONDS)


async def wait_until_gone(rooms: Rooms, name: str) -> AsyncIterator[Organization]:
    """The organization, a few times a second, until nothing of it is left."""
    while (organization := await rooms.organizations.find(name)) is not None:
        yield organization
        await asyncio.sleep(POLL_SECONDS)


async def wait_until_pulled(rooms: Rooms, name: str, since: datetime | None) -> AsyncIterator[list[EntityStatus]]:
    """How the entities stand, a few times a second, until each was pulled (after `since`, where given)."""
    while True:
        status = await organization_status(rooms, name)
        yield status.entities
        if status.entities and all(_is_pulled(entity, since) for entity in status.entities):
            return
        await asyncio.sleep(POLL_SECONDS)


async def organization_status(rooms: Rooms, name: str) -> OrganizationStatus:
    """How an organization stands, entity by entity."""
    organization = await rooms.organizations.get(name)
    head, entities = None, []
    preparing: list[str] = []
    edits: list[Count] = []
    abilities, size_bytes, snapshots = None, 0, dict[str, int]()
    if organization.state in {"active", "broken"}:
        async with rooms.databases.open(organization, pool_size=1) as staging, staging.connection() as connection:
            head = await read_head(connection)
            scopes = await read_scopes(connection)
            scope, preparing = scopes.maintained, await _preparing(connection, scopes)
            watermarks = await read_all(connection)
            edits = await count_sets(connection)
            abilities = await read_abilities(connection)
            size_bytes, snapshots = await database_bytes(connection), await count_snapshots(connection)
            for entity in scope.entities:
                rows = await staged_count(connection, entity.name)
                unusable = await unusable_count(connection, entity.name)
                entities.append(_entity_status(entity.name, rows, unusable, watermarks.get(entity.name)))
    return OrganizationStatus(
        organization.name,
        organization.state,
        organization.problem,
        organization.source_url,
        organization.source_kind,
        head,
        entities,
        preparing,
        edits,
        abilities,
        size_bytes,
        snapshots,
    )


async def pull_now(rooms: Rooms, name: str, entity: str | None = None) -> list[str]:
    """Have one entity pulled now, or all; their names. Errors: OrganizationUnknown, InputInvalid."""
    status = await organization_status(rooms, name)
    names = [each.entity for each in status.entities]
    if entity and entity not in names:
        raise InputInvalid(f"{name} stages no entity {entity!r}.", hint=f"It stages {', '.join(names)}.")
    chosen = [entity] if entity else names
    for one in chosen:
        await rooms.events.request(name, WorkName.PULL, one)
    return chosen


def abilities_in_words(abilities: Abilities) -> list[str]:
    """What the source can do, and what that means for edits; what is not known yet is left out."""
    impersonates = (
        "executes them in the user's name"
        if abilities.impersonates
        else "knows no impersonation: they count for Satchel's own account there"
    )
    told = (
        (abilities.has_etags, "has row versions (ETags): nobody's change is overwritten unseen",
         "has no row versions (ETags): rows are read before each write, and a change in between is overwritten"),
        (abilities.requires_etags, "refuses writes without a version (428)", ""),
        (abilities.has_batch, "executes several changes as a whole ($batch)",
         "has no $batch: a transaction of several rows is rejected"),
        (abilities.has_audit, "tells by its audit what was executed",
         "has no audit: where an answer was lost and the row has changed since, the user decides"),
    )  # fmt: skip
    chosen = [yes if known else no for known, yes, no in told if known is not None]
    return [impersonates, *(words for words in chosen if words)]


async def _preparing(connection: DatabaseConnection, scopes: Scopes) -> list[str]:
    """What is missing until published profiles come into force, in words."""
    if scopes.next is None:
        return []
    known = [entity.name for entity in scopes.in_force.entities if entity.name in scopes.next.entity_by_name]
    waiting = [f"{name} is read again" for name in sorted(await being_read(connection, known))]
    standing = await standing_families(connection)
    wanted = [standing[family.name] for family in scopes.next.families if family.name in standing]
    filling = [f"rows of {each.entity} are sorted" for each in wanted if each.state == "filling"]
    return waiting + sorted(set(filling)) or ["about to come into force"]


async def users_of(rooms: Rooms, name: str, limit: int, text: str = "") -> list[tuple[str, str]]:
    """Enabled users of the source (id, name), whose name or id has this text in it."""
    organization = await rooms.organizations.get(name)
    async with rooms.databases.open(organization, pool_size=1) as staging, staging.connection() as connection:
        return await find_users(connection, await read_scope(connection), limit, text)


async def invite(rooms: Rooms, name: str, user_id: str) -> str:
    """Make a one-time enrolment link for a user of the source. Errors: UserUnknown."""
    organization = await rooms.organizations.get(name)
    if organization.state != "active":
        raise InputInvalid(f"{name} is {organization.state}.", hint=f"Provision it first: satchel org provision {name}")
    async with rooms.databases.open(organization, pool_size=1) as staging, staging.connection() as connection:
        user = await read_user(connection, await read_scope(connection), user_id)
    if user is None or not user.is_enabled:
        raise UserUnknown(f"{name} has no enabled user {user_id!r}.", hint=f"`satchel org users {name}` lists them.")
    lifetime = rooms.settings.enrolment.code_lifetime_hours * 3600
    code = await rooms.devices.make_code(organization, user.id, user.name, lifetime_seconds=lifetime)
    return format_link(public_url(rooms), name, code, _fingerprint(rooms))


async def sign_in_link(rooms: Rooms, name: str) -> str:
    """The link with which an organization's users sign in. Errors: OrganizationUnknown, SettingInvalid."""
    organization = await rooms.organizations.get(name)
    if sign_in_of(rooms.settings.sign_in) is None:
        raise SettingInvalid("[sign_in] issuer is missing: users cannot sign in.", hint="Invite them: give a USER.")
    return format_place(SignInPlace(public_url(rooms), organization.name, _fingerprint(rooms)))


async def bind_tenants(rooms: Rooms, name: str, tenants: list[str]) -> Organization:
    """Say whose users may sign in to an organization. Errors: OrganizationUnknown, InputInvalid."""
    organization = await rooms.organizations.get(name)
    known = sorted(rules.tenants) if (rules := sign_in_of(rooms.settings.sign_in)) else []
    wanted = sorted({each.lower() for each in tenants})
    for each in wanted:
        if each not in known:
            raise InputInvalid(
                f"{each!r} is none of [sign_in] tenants.",
                hint=f"They are {', '.join(known)}." if known else "Set [sign_in] issuer and tenants first.",
            )
    await rooms.organizations.set_tenants(organization, wanted)
    return await rooms.organizations.get(name)


def public_url(rooms: Rooms) -> str:
    """The address devices use."""
    sync = rooms.settings.sync
    url = sync.public_url or f"https://localhost:{sync.port}"
    if urlsplit(url).scheme != "https":
        raise InputInvalid("[sync] public_url must begin with https://.")
    return url.rstrip("/")


def _fingerprint(rooms: Rooms) -> str | None:
    """What a device checks our development CA by; None where a real certificate is configured."""
    ca_file = rooms.management_ca()
    if ca_file is None:
        return None
    try:
        return fingerprint_of(ca_file)
    except OSError as error:
        raise SatchelError("There is no certificate authority yet.", hint="Start the sync server once.") from error


def _tenants(connection: Connection) -> list[str]:
    """Users of a Dataverse organization are of its own tenant; one given by a domain is not known by its id."""
    try:
        return [str(uuid.UUID(connection.tenant))] if connection.tenant else []
    except ValueError:
        return []


def _is_pulled(entity: EntityStatus, since: datetime | None) -> bool:
    if entity.pulled_at is None or entity.state != "current":
        return False
    return since is None or entity.pulled_at >= since


def _entity_status(entity: str, rows: int, unusable: int, stored: StoredWatermark | None) -> EntityStatus:
    if stored is None or stored.pulled_at is None:
        state = "reading" if stored and stored.watermark else "not read yet"
    elif stored.watermark is None or (stored.watermark.is_full_read and stored.watermark.next_page):
        state = "reading all again"
    elif stored.must_reconcile:
        state = "comparing keys"
    else:
        state = "current"
    strategy, pulled_at, problem = (stored.strategy, stored.pulled_at, stored.problem) if stored else (None, None, None)
    return EntityStatus(entity, rows, strategy, pulled_at, state, problem, unusable)
