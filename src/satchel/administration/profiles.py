"""Offline profiles: drafts, publishing, history, and what a change of them would mean."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from satchel.access.dynamics.profile import import_profile as convert_profile
from satchel.access.profiles import parse_profile
from satchel.administration.preview import Preview, preview_scope
from satchel.assembly import Rooms
from satchel.buckets.bound import bound_buckets
from satchel.buckets.decisions import Decision, decide, in_words
from satchel.buckets.families import family_ids
from satchel.buckets.members import buckets_of_row
from satchel.database.pool import Connection
from satchel.errors import InputInvalid, ProfileInvalid, UserUnknown
from satchel.model.metadata import Attribute, Metadata
from satchel.model.scope import Binding, Scope
from satchel.model.user import User
from satchel.model.work import WorkName
from satchel.provisioning.organizations import Organization
from satchel.provisioning.profiles import ProfileVersion, Publication
from satchel.source.dataverse import DataverseSource
from satchel.source.offline_profiles import OfflineProfileRows
from satchel.staging.head import read_scope
from satchel.staging.principals import read_user
from satchel.staging.rows import find_row


class Difference(msgspec.Struct, frozen=True):
    """What publishing one version after another would change."""

    lines: list[str]
    """The texts, as a unified diff."""
    entities_added: list[str]
    entities_removed: list[str]
    columns_changed: list[str]
    """Entities whose rows are sent again, with other columns."""
    rows_changed: list[str]
    """Entities of which devices get other rows; rows they have already are not sent again."""


class ProfileSummary(msgspec.Struct, frozen=True):
    """A profile, and how far it is."""

    name: str
    in_force: int | None
    """The version that is in force; None: it is withdrawn, or a draft."""
    newest: int
    since: datetime | None
    """When it came into force."""
    comment: str
    """Of the newest version."""


class FamilyDecision(msgspec.Struct, frozen=True):
    """How one family of buckets decides about a row."""

    bucket: int | None
    """None: the row is in no bucket of this family, whoever the user is."""
    decision: Decision


class Explanation(msgspec.Struct, frozen=True):
    """Why a user takes a row offline, or does not."""

    user: str
    entity: str
    key: str
    is_in: bool
    families: list[FamilyDecision]


async def import_profile(rooms: Rooms, name: str, text: str, comment: str = "") -> tuple[ProfileVersion, Scope]:
    """Check a profile with those in force beside it, and keep it as a draft. Errors: ProfileInvalid."""
    organization = await rooms.organizations.get(name)
    profile_name = parse_profile(text).name
    scope = await _compiled_with(rooms, organization, profile_name, text)
    version = await rooms.profiles.add(organization, profile_name, text, comment)
    return await rooms.profiles.get(organization, profile_name, version), scope


async def import_from_source(
    rooms: Rooms, name: str, profile_name: str | None = None
) -> list[tuple[ProfileVersion | None, str, tuple[str, ...]]]:
    """Turn the source's mobile offline profiles into drafts.

    For each: the draft (None where it could not be kept), its text, and what a person should look at.
    Errors: InputInvalid where the source has none.
    """
    organization = await rooms.organizations.get(name)
    source = rooms.source(rooms.open_connection(organization))
    try:
        if not isinstance(source, DataverseSource):
            raise InputInvalid(f"{name} is no Dataverse organization, so it has no mobile offline profiles.")
        rows, metadata = await source.offline_profiles(), await source.metadata()
    finally:
        await source.aclose()
    chosen = [row for row in rows.profiles if profile_name in (None, row.get("name"))]
    if not chosen:
        known = ", ".join(str(row.get("name")) for row in rows.profiles)
        raise InputInvalid("The source has no such mobile offline profile.", hint=f"It has: {known or 'none'}.")
    return [await _import_one(rooms, organization, row, rows, metadata) for row in chosen]


async def _import_one(
    rooms: Rooms, organization: Organization, row: dict[str, Any], rows: OfflineProfileRows, metadata: Metadata
) -> tuple[ProfileVersion | None, str, tuple[str, ...]]:
    def attribute(entity: str, name: str) -> Attribute | None:
        known = metadata.entity_by_name.get(entity)
        return known.attribute_by_name.get(name) if known else None

    text, notes = convert_profile(
        row,
        rows.items,
        rows.associations,
        rows.filters,
        relationships=rows.relationships,
        views=rows.views,
        members=rows.members,
        lookup_target=lambda entity, name: found.targets if (found := attribute(entity, name)) else None,
        type_of=lambda entity, name: found.type if (found := attribute(entity, name)) else None,
    )
    try:
        version, _ = await import_profile(rooms, organization.name, text, "imported from Dynamics 365")
    except ProfileInvalid as error:
        return None, text, (*notes, f"It cannot be kept as it is: {error.message} {error.hint or ''}".rstrip())
    return version, text, notes


async def profiles_of(rooms: Rooms, name: str) -> list[ProfileSummary]:
    """All profiles of an organization, by name. Errors: OrganizationUnknown."""
    found: dict[str, ProfileSummary] = {}
    for each in await rooms.profiles.versions(await rooms.organizations.get(name)):
        before = found.get(each.name)
        in_force, since = (before.in_force, before.since) if before else (None, None)
        if each.is_published:
            in_force, since = each.version, each.published_at
        found[each.name] = ProfileSummary(each.name, in_force, each.version, since, each.comment)
    return list(found.values())


async def validate_profile(rooms: Rooms, name: str, text: str) -> Scope:
    """What a profile would come to. Errors: ProfileInvalid."""
    organization = await rooms.organizations.get(name)
    return await _compiled_with(rooms, organization, parse_profile(text).name, text)


async def publish_profile(
    rooms: Rooms, name: str, profile: str, version: int | None = None, comment: str = "", *, seen: int | None = None
) -> ProfileVersion:
    """Bring a version into force (None: the newest).

    `seen`: which version of it was in force when somebody decided this, 0: none; where another one is by now, nothing
    changes. Errors: ProfileInvalid, InputInvalid.
    """
    organization = await rooms.organizations.get(name)
    in_force = await rooms.profiles.published(organization)
    require_seen(in_force, profile, seen)
    chosen = await rooms.profiles.get(organization, profile, version)
    await _check_principals(rooms, organization, await _compiled_with(rooms, organization, profile, chosen.text))
    await _publish(rooms, organization, profile, chosen.version, comment, in_force)
    return chosen


async def roll_back_profile(
    rooms: Rooms, name: str, profile: str, comment: str = "", *, seen: int | None = None
) -> ProfileVersion:
    """Bring the version into force that was before the one in force.

    `seen`: as for `publish_profile`; so two who roll back at once do it once. Errors: InputInvalid where there is none.
    """
    organization = await rooms.organizations.get(name)
    earlier = [p.version for p in await rooms.profiles.publications(organization, profile) if p.version is not None]
    current = next((v.version for v in await rooms.profiles.versions(organization, profile) if v.is_published), None)
    before = [version for version in earlier if version != current]
    if not before:
        raise InputInvalid(f"The profile {profile!r} has no earlier version that was in force.")
    seen = seen if seen is not None else current or 0
    return await publish_profile(rooms, name, profile, before[-1], comment or "rolled back", seen=seen)


async def withdraw_profile(
    rooms: Rooms, name: str, profile: str, comment: str = "", *, seen: int | None = None
) -> None:
    """Take a profile out of force. `seen`: as for `publish_profile`. Errors: InputInvalid where it is the last one."""
    organization = await rooms.organizations.get(name)
    await rooms.profiles.get(organization, profile)
    published = await rooms.profiles.published(organization)
    require_seen(published, profile, seen)
    if profile not in {each.name for each in published}:
        raise InputInvalid(f"{profile!r} is not in force.", hint="`satchel profile list` shows what is.")
    others = [each for each in published if each.name != profile]
    if not others:
        raise InputInvalid(
            f"{profile!r} is the only profile in force.", hint="Publish another one first, or deprovision."
        )
    await _check_principals(rooms, organization, await _compiled(rooms, organization, [o.text for o in others]))
    await _publish(rooms, organization, profile, None, comment, published)


def require_seen(in_force: Sequence[ProfileVersion], profile: str, seen: int | None) -> None:
    """What was decided was decided on what is in force now. Errors: InputInvalid."""
    now = next((each.version for each in in_force if each.name == profile), 0)
    if seen is not None and seen != now:
        words = f"version {now} came into force" if now else "it was taken out of force"
        raise InputInvalid(
            f"Nothing was changed: meanwhile {words}.", hint="Look at what is in force now, and decide anew."
        )


async def version_in_force(rooms: Rooms, name: str, profile: str) -> int:
    """Of a profile; 0: none. Errors: OrganizationUnknown."""
    published = await rooms.profiles.published(await rooms.organizations.get(name))
    return next((each.version for each in published if each.name == profile), 0)


async def profile_history(rooms: Rooms, name: str, profile: str) -> tuple[list[ProfileVersion], list[Publication]]:
    """All versions of a profile, and what was in force when. Errors: InputInvalid."""
    organization = await rooms.organizations.get(name)
    await rooms.profiles.get(organization, profile)
    return (
        await rooms.profiles.versions(organization, profile),
        await rooms.profiles.publications(organization, profile),
    )


async def compare_profiles(rooms: Rooms, name: str, profile: str, text: str) -> Difference:
    """What publishing this text of the profile would change. Errors: ProfileInvalid."""
    organization = await rooms.organizations.get(name)
    if parse_profile(text).name != profile:
        raise InputInvalid(f"The file holds the profile {parse_profile(text).name!r}, not {profile!r}.")
    before = [p for p in await rooms.profiles.published(organization) if p.name == profile]
    old_text = before[0].text if before else ""
    new = await _compiled_with(rooms, organization, profile, text)
    old = await _compiled(rooms, organization, [p.text for p in await rooms.profiles.published(organization)])
    return difference(old, new, old_text, text)


def difference(old: Scope, new: Scope, old_text: str = "", new_text: str = "") -> Difference:
    """What differs for devices."""
    lines = list(difflib.unified_diff(old_text.splitlines(), new_text.splitlines(), "in force", "new", lineterm=""))
    before, after = old.client_model.entity_by_name, new.client_model.entity_by_name
    both = [name for name in after if name in before]
    is_for_others = _who(old) != _who(new)
    return Difference(
        lines=lines,
        entities_added=[name for name in after if name not in before],
        entities_removed=[name for name in before if name not in after],
        columns_changed=[name for name in both if _columns(old, name) != _columns(new, name)],
        rows_changed=[name for name in both if is_for_others or _bindings(old, name) != _bindings(new, name)],
    )


async def preview_profile(rooms: Rooms, name: str, text: str | None, user_id: str | None, limit: int = 200) -> Preview:
    """Rows and bytes per entity with this profile in force; None: with what is in force. Errors: UserUnknown."""
    organization = await rooms.organizations.get(name)
    if text is None:
        published = await rooms.profiles.published(organization)
        scope = await _compiled(rooms, organization, [each.text for each in published])
    else:
        scope = await _compiled_with(rooms, organization, parse_profile(text).name, text)
    async with rooms.databases.open(organization, pool_size=1) as staging:
        return await preview_scope(staging, scope, user_id, limit)


async def explain_row(rooms: Rooms, name: str, user_id: str, entity: str, key: str) -> Explanation:
    """Why the user takes a row offline, or does not. Errors: UserUnknown, InputInvalid."""
    organization = await rooms.organizations.get(name)
    async with rooms.databases.open(organization, pool_size=1) as staging, staging.snapshot() as connection:
        scope = await read_scope(connection)
        user = await read_user(connection, scope, user_id)
        if user is None:
            raise UserUnknown(f"{name} has no user {user_id!r}.", hint=f"`satchel org users {name}` lists them.")
        return await _explain(connection, scope, user, entity, key)


async def _explain(connection: Connection, scope: Scope, user: User, entity: str, key: str) -> Explanation:
    staged = scope.entity_by_name.get(entity)
    if staged is None or entity not in scope.client_model.entity_by_name:
        raise InputInvalid(
            f"No profile offers {entity!r}.", hint=f"Offered: {', '.join(scope.client_model.entity_by_name)}."
        )
    row = await find_row(connection, staged, key.split(","))
    if row is None:
        raise InputInvalid(f"There is no {entity} {key} in staging.", hint="Is it new at the source? Pull first.")
    ids = await family_ids(connection)
    bound = {str(bucket) for bucket in await bound_buckets(connection, scope, ids, user)}
    buckets = await buckets_of_row(connection, row)
    found: list[FamilyDecision] = []
    for binding in scope.bindings:
        if binding.family.entity == entity:
            standing = ids.get(binding.family.name)
            own = [(bucket, bucket_key) for bucket, family, bucket_key in buckets if family == standing]
            found += [_decided(binding, bucket, bucket_key, user, bound) for bucket, bucket_key in own]
            if not own:
                found.append(FamilyDecision(None, Decision(holds=False, text=_why_nowhere(binding))))
    is_in = user.is_enabled and any(each.decision.holds for each in found)
    return Explanation(user.name, entity, key, is_in, found)


def _decided(binding: Binding, bucket: int, key: Sequence[str | None], user: User, bound: set[str]) -> FamilyDecision:
    decision = decide(binding.condition, binding.family, key, user, bound)
    if not user.is_enabled:
        decision = Decision(holds=False, text="the user is disabled at the source")
    return FamilyDecision(bucket, decision)


def _why_nowhere(binding: Binding) -> str:
    family = binding.family
    if family.related is not None:
        return "no related row is one that anyone takes offline"
    return f"for nobody: {in_words(family.where)} does not hold" if family.where is not None else "not assigned yet"


def _who(scope: Scope) -> tuple[object, ...]:
    return scope.assignments, scope.principals, scope.privileges


def _columns(scope: Scope, entity: str) -> tuple[object, ...]:
    offered = {profile: names.get(entity) for profile, names in scope.offered.items()}
    return scope.client_model.entity_by_name[entity].digest, offered, scope.secured.get(entity)


def _bindings(scope: Scope, entity: str) -> set[Binding]:
    return {binding for binding in scope.bindings if binding.family.entity == entity}


async def _check_principals(rooms: Rooms, organization: Organization, new: Scope) -> None:
    """Security must not end with a profile that happens to describe it. Errors: InputInvalid."""
    if new.principals is None:
        published = await rooms.profiles.published(organization)
        old = await _compiled(rooms, organization, [each.text for each in published])
        if old.principals is not None:
            raise InputInvalid(
                "Nothing would say who users are and what they may read.",
                hint="Put [principals] into a profile that stays in force first.",
            )


async def _compiled_with(rooms: Rooms, organization: Organization, name: str, text: str) -> Scope:
    others = [p.text for p in await rooms.profiles.published(organization) if p.name != name]
    return await _compiled(rooms, organization, [*others, text])


async def _compiled(rooms: Rooms, organization: Organization, texts: Sequence[str]) -> Scope:
    _, _, scope = await rooms.check(rooms.open_connection(organization), texts)
    return scope


async def _publish(
    rooms: Rooms,
    organization: Organization,
    profile: str,
    version: int | None,
    comment: str,
    instead_of: Sequence[ProfileVersion],
) -> None:
    """Order: with the version its work item, for a process that is killed here; once more after it, in vain mostly."""
    is_active = organization.state == "active"

    async def refresh(connection: Connection) -> None:
        if is_active:
            await rooms.events.defer(connection, organization.name, WorkName.REFRESH_MODEL)

    await rooms.profiles.publish(organization, profile, version, comment, instead_of=instead_of, then=refresh)
    if is_active:
        await rooms.events.request(organization.name, WorkName.REFRESH_MODEL)
