"""What belongs to an organization: its source, its staging database, its edits."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import msgspec

from satchel.administration.doctor.finding import Finding, Level, ago, good
from satchel.administration.doctor.installation import look_at_version
from satchel.assembly import Rooms
from satchel.buckets.snapshots import count_snapshots
from satchel.database.migrate import lacking
from satchel.errors import SatchelError, SignInRefused
from satchel.identity.sign_in import sign_in_of
from satchel.journal.look import Backlog, read_backlog
from satchel.model.changes import Strategy
from satchel.provisioning.organizations import Organization
from satchel.provisioning.schedule import Standing, standing_of
from satchel.settings.schema import SignIn as SignInSettings
from satchel.source.connection import Connection
from satchel.staging.rows import unusable_counts
from satchel.staging.watermark import StoredWatermark, read_all

GRACE_SECONDS = 25.0
FAILING_SECONDS = 20.0
STUCK_SECONDS = 60.0
SKEW_SECONDS = 5.0
PROBE_SECONDS = 10.0
DELTA_WARNING_SHARE, DELTA_WRONG_SHARE = 0.5, 0.8


class Seen(msgspec.Struct, frozen=True):
    """An organization as it stands, for findings and metrics."""

    watermarks: dict[str, StoredWatermark]
    backlog: Backlog
    unusable: dict[str, int]
    snapshots: dict[str, int]
    """Sealed images of buckets: `current`, and `retired` ones kept for downloads under way."""


async def look_at_organization(
    rooms: Rooms, organization: Organization, now: datetime, *, is_asking: bool
) -> tuple[list[Finding], Seen | None]:
    """All that is known of it; `is_asking`: its source is asked as well."""
    name = organization.name
    if organization.state == "broken":
        words = f"It is stopped: {organization.problem or 'something that must always hold does not.'}"
        advice = f"satchel logs --organization {name} --level error --since 7d; then provision it anew."
        return [Finding(check="organization", level=Level.WRONG, organization=name, message=words, advice=advice)], None
    if organization.state != "active":
        words = f"It is {organization.state}." + (f" {organization.problem}" if organization.problem else "")
        level = Level.WARNING if organization.problem else Level.GOOD
        return [Finding(check="organization", level=level, organization=name, message=words)], None
    try:
        async with rooms.databases.open(organization, pool_size=1) as staging, staging.connection() as connection:
            lacks = await lacking(connection, "staging")
            if lacks.pre:
                return look_at_version("staging database", lacks, name), None
            seen = Seen(
                watermarks=await read_all(connection),
                backlog=await read_backlog(connection),
                unusable=await unusable_counts(connection),
                snapshots=await count_snapshots(connection),
            )
    except SatchelError as error:
        advice = "Is the server up, and may its role connect? Devices keep what they have."
        return [
            Finding(check="database", level=Level.WRONG, organization=name, message=error.message, advice=advice)
        ], None
    standing = await standing_of(rooms.control, organization)
    found = look_at_pulls(name, seen.watermarks, standing, now, rooms.settings.source.delta_link_lifetime_days)
    found += look_at_version("staging database", lacks, name)
    found += look_at_work(name, standing, now) + look_at_edits(name, seen.backlog, now)
    for entity, count in seen.unusable.items():
        found.append(Finding(
            check="rows", level=Level.WARNING, organization=name, subject=entity,
            message=f"{count:,} rows of {entity} could not be staged: devices do not have them.",
            advice=f"satchel org show {name} tells why; correct the values at the source.",
        ))  # fmt: skip
    found += look_at_tenants(name, organization.tenants, rooms.settings.sign_in)
    if is_asking:
        found += await ask_source(rooms, organization)
    return found or [good("organization", "It is current.", name)], seen


def look_at_tenants(name: str, bound: list[str], settings: SignInSettings) -> list[Finding]:
    """Where several tenants may sign in, each organization must say whose users it lets in."""
    rules = sign_in_of(settings)
    if rules is None:
        return []
    try:
        rules.tenants_of(frozenset(bound))
    except SignInRefused:
        return [Finding(
            check="sign-in", level=Level.WARNING, organization=name,
            message="Nobody can sign in on a new device: it is bound to none of [sign_in] tenants.",
            advice=f"satchel org tenants {name} TENANT (of {', '.join(sorted(rules.tenants))})",
        )]  # fmt: skip
    return []


def look_at_pulls(
    name: str, watermarks: dict[str, StoredWatermark], standing: list[Standing], now: datetime, lifetime_days: float
) -> list[Finding]:
    """Each entity must be read again and again; a delta link lives only so long."""
    found = []
    for each in standing:
        stored = watermarks.get(each.entity)
        if not each.entity or stored is None:
            continue
        lag = (now - stored.pulled_at).total_seconds() if stored.pulled_at else None
        failing = (now - each.failing_since).total_seconds() if each.problem and each.failing_since else 0.0
        if failing > FAILING_SECONDS or (lag is not None and lag > each.interval_seconds + GRACE_SECONDS):
            is_long = failing > 3 * STUCK_SECONDS or (lag or 0.0) > 3 * each.interval_seconds + STUCK_SECONDS
            read = f"was last read {ago(lag)} ago" if lag is not None else "was never read to its end"
            found.append(Finding(
                check="source", level=Level.WRONG if is_long else Level.WARNING, organization=name,
                subject=each.entity,
                message=f"{each.entity} {read} (every {ago(each.interval_seconds)})."
                + (f" {each.problem}" if each.problem else ""),
                advice="Does the source answer, and are workers up? Devices keep what they have until then."
                f" satchel logs --organization {name} --entity {each.entity} --level warning",
            ))  # fmt: skip
        found += _look_at_delta_link(name, each.entity, stored, now, lifetime_days)
    return found


def _look_at_delta_link(
    name: str, entity: str, stored: StoredWatermark, now: datetime, lifetime_days: float
) -> list[Finding]:
    mark = stored.watermark
    if mark is None or mark.taken_at is None or mark.strategy is not Strategy.DELTA_LINK:
        return []
    days = (now - mark.taken_at).total_seconds() / 86_400
    if days < DELTA_WARNING_SHARE * lifetime_days:
        return []
    level = Level.WRONG if days > DELTA_WRONG_SHARE * lifetime_days else Level.WARNING
    words = f"The delta link of {entity} is {days:,.1f} days old; the source keeps it for about {lifetime_days:g}."
    advice = "Let a pull succeed before it expires; else all of this entity is read again (nothing is lost)."
    return [Finding(check="delta link", level=level, organization=name, subject=entity, message=words, advice=advice)]


def look_at_work(name: str, standing: list[Standing], now: datetime) -> list[Finding]:
    """Recurring work other than pulls that does not succeed: refreshing the model, sealing snapshots, windows."""
    found = []
    for each in standing:
        if each.problem is None or each.entity:
            continue
        seconds = (now - each.failing_since).total_seconds() if each.failing_since else 0.0
        found.append(Finding(
            check=each.work_item.replace("_", " "), level=Level.WRONG if seconds > STUCK_SECONDS else Level.WARNING,
            organization=name, message=f"It has not succeeded for {ago(seconds)}: {each.problem}",
            advice=f"satchel logs --organization {name} --work-item {each.work_item} --level warning",
        ))  # fmt: skip
    return found


def look_at_edits(name: str, backlog: Backlog, now: datetime) -> list[Finding]:
    """Edits must get to the source, or to somebody who decides."""
    found = []
    advice = f"satchel edits list {name} --show stuck"
    age = (now - backlog.oldest_due_at).total_seconds() if backlog.oldest_due_at else 0.0
    if backlog.trying:
        words = f"{backlog.trying:,} edit sets were tried and wait: {backlog.problem}"
        found.append(Finding(check="edits", level=Level.WARNING, organization=name, message=words, advice=advice))
    elif age > STUCK_SECONDS:
        words = f"{backlog.waiting:,} edit sets wait to be played back, the oldest for {ago(age)}."
        found.append(Finding(check="edits", level=Level.WARNING, organization=name, message=words,
                             advice=f"Are workers up, and does the source answer? {advice}"))  # fmt: skip
    if backlog.held and backlog.oldest_held_at and (now - backlog.oldest_held_at).days >= 1:
        words = f"{backlog.held:,} edit sets wait for somebody's decision, the oldest for over a day."
        found.append(Finding(check="edits", level=Level.WARNING, organization=name, subject="held", message=words,
                             advice=f"Their users decide; for those who do not come: {advice}"))  # fmt: skip
    return found


async def ask_source(rooms: Rooms, organization: Organization) -> list[Finding]:
    """Does the source let Satchel in, and does its clock agree?"""
    name = organization.name
    try:
        connection: Connection = rooms.open_connection(organization)
        source = rooms.source(connection, patience_seconds=0.0)
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                info: Any = await source.check()
        finally:
            await source.aclose()
    except (SatchelError, TimeoutError) as error:
        words = error.message if isinstance(error, SatchelError) else "The source does not answer in time."
        advice = (error.hint if isinstance(error, SatchelError) else "") or "Is it up, and reachable from the workers?"
        return [Finding(check="source", level=Level.WRONG, organization=name, message=words, advice=advice)]
    skew = info.clock_skew_seconds
    if skew is not None and abs(skew) > SKEW_SECONDS:
        words = f"The source's clock is {skew:+,.0f} s off this machine's."
        advice = "Let this machine follow a time server: where changes are found by time, a wrong clock delays rows."
        return [Finding(check="clock", level=Level.WARNING, organization=name, message=words, advice=advice)]
    return []
