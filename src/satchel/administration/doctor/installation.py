"""What belongs to no organization: processes, queue, disks, clocks, certificates, object storage."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from satchel.administration.doctor.finding import Finding, Level, ago, good
from satchel.assembly import Rooms
from satchel.database.migrate import Lacking
from satchel.errors import SatchelError
from satchel.identity.certificates import expiry_of
from satchel.provisioning.processes import Process
from satchel.storage import open_objects
from satchel.work.queue import QueueState

SERVICES = ("provisioning", "worker", "sync")
SKEW_SECONDS = 5.0
QUEUE_WARNING_SECONDS, QUEUE_WRONG_SECONDS = 30.0, 120.0
CERTIFICATE_WARNING_DAYS, CERTIFICATE_WRONG_DAYS = 21.0, 5.0
DISK_WARNING_SHARE, DISK_WRONG_SHARE = 0.10, 0.03
DISK_WARNING_BYTES, DISK_WRONG_BYTES = 2 * 2**30, 500 * 2**20


def look_at_processes(processes: Sequence[Process]) -> list[Finding]:
    """Each service must be up; what ended without a word is told until something runs in its place."""
    found = []
    alive = [each for each in processes if not each.is_dead]
    for service in SERVICES:
        if not any(each.service == service for each in alive):
            found.append(Finding(
                check="process", level=Level.WRONG, subject=service, message=f"No {service} is up.",
                advice=f"Start it: satchel run {service} (or satchel up). Its log: satchel logs --service {service}",
            ))  # fmt: skip
    for each in processes:
        if each.is_dead:
            found.append(Finding(
                check="process", level=Level.WARNING, subject=each.instance,
                message=f"A {each.service} on {each.host} was last heard of {ago(each.silent_seconds)} ago;"
                " it did not say that it stops.",
                advice="What it was doing is taken over. Start another on that host, or forget it: it is gone from"
                f" here after a day. Its last words: satchel logs --service {each.service} --text {each.instance}",
            ))  # fmt: skip
        elif abs(each.skew_seconds) > SKEW_SECONDS:
            found.append(Finding(
                check="clock", level=Level.WARNING, subject=each.instance,
                message=f"The clock of {each.host} is {each.skew_seconds:+,.0f} s off the database's.",
                advice="Let both follow a time server (chrony, systemd-timesyncd).",
            ))  # fmt: skip
        if not each.is_dead and each.facts.telemetry_dropped:
            found.append(Finding(
                check="telemetry", level=Level.WARNING, subject=each.instance,
                message=f"A {each.service} on {each.host} lost {each.facts.telemetry_dropped:,} logs and spans.",
                advice="Object storage was away or too slow; see the finding on storage.",
            ))  # fmt: skip
    return found or [good("process", f"{len(alive)} processes are up.")]


def look_at_version(what: str, lacking: Lacking, organization: str = "") -> list[Finding]:
    """After an upgrade, every database must be brought to the version that runs."""
    if lacking.pre:
        level, words = Level.WRONG, f"The {what} is of an older version: {lacking.pre} migrations have not run."
        advice = "satchel run migrate --pre; what does not answer then, the provisioning service brings up later."
    elif lacking.post:
        level, words = Level.WARNING, f"{lacking.post} migrations of the {what} wait for processes of the old version."
        advice = "Once none of those runs any more: satchel run migrate"
    else:
        return []
    return [Finding(check="version", level=level, organization=organization, message=words, advice=advice)]


def look_at_queue(state: QueueState) -> list[Finding]:
    """Work that is due must begin soon."""
    words = f"{state.waiting:,} work items are due, the oldest for {ago(state.age_seconds)}; {state.doing:,} run."
    if state.age_seconds < QUEUE_WARNING_SECONDS:
        return [good("queue", words)]
    level = Level.WRONG if state.age_seconds > QUEUE_WRONG_SECONDS else Level.WARNING
    advice = "Are workers up? Start more of them, or give them more at once: [worker] concurrency."
    return [Finding(check="queue", level=level, message=words, advice=advice)]


def look_at_disk(place: str, free_bytes: int, total_bytes: int) -> list[Finding]:
    """Nothing good comes of a full disk."""
    share = free_bytes / total_bytes if total_bytes else 1.0
    words = f"{place}: {free_bytes / 2**30:,.1f} GiB are free ({share:.0%})."
    if share > DISK_WARNING_SHARE or free_bytes > 20 * 2**30:
        level = Level.WARNING if free_bytes < DISK_WARNING_BYTES else Level.GOOD
    else:
        level = Level.WARNING
    if free_bytes < DISK_WRONG_BYTES or (share < DISK_WRONG_SHARE and free_bytes < DISK_WARNING_BYTES):
        level = Level.WRONG
    if level is Level.GOOD:
        return [good("disk", words)]
    advice = "Make room or a larger disk: a database that cannot write stops all pulls and edits."
    return [Finding(check="disk", level=level, message=words, advice=advice, subject=place)]


def look_at_certificate(place: str, expires_at: datetime, now: datetime) -> list[Finding]:
    """Devices stop trusting a server whose certificate has expired."""
    days = (expires_at - now).total_seconds() / 86_400
    if days > CERTIFICATE_WARNING_DAYS:
        return [good("certificate", f"{place}: the certificate is good for {days:,.0f} days.")]
    level = Level.WRONG if days < CERTIFICATE_WRONG_DAYS else Level.WARNING
    words = f"expires in {days:,.1f} days" if days > 0 else "has expired: devices refuse to connect"
    advice = "Renew it and start the sync server again; one that Satchel made itself is renewed at that start."
    return [Finding(check="certificate", level=level, message=f"{place}: the certificate {words}.", advice=advice,
                    subject=place)]  # fmt: skip


def look_at_certificates(rooms: Rooms, processes: Sequence[Process], now: datetime) -> list[Finding]:
    """What sync servers and consoles serve; where none tells, what the settings name."""
    alive = [each for each in processes if not each.is_dead]
    served = {(each.service, each.host): each.facts.certificate_expires_at for each in alive}
    names = {"sync": "Sync server", "console": "Console"}
    found = [
        each
        for (service, host), at in served.items()
        if at
        for each in look_at_certificate(f"{names.get(service, service)} on {host}", at, now)
    ]
    file = Path(rooms.settings.sync.tls_certificate_file or rooms.settings.tls_folder / "server.pem")
    if not found and file.exists():
        found = look_at_certificate(str(file), expiry_of(file), now)
    return found


async def look_at_storage(rooms: Rooms) -> list[Finding]:
    """Write, read and delete an object."""
    path = f"doctor/{secrets.token_hex(8)}"
    try:
        objects = open_objects(rooms.settings)
        await objects.put(path, b"satchel")
        is_same = await objects.get(path) == b"satchel"
        await objects.delete(path)
    except SatchelError as error:
        advice = error.hint or "Check [storage]; snapshots, logs and traces wait for it."
        return [Finding(check="storage", level=Level.WRONG, message=error.message, advice=advice)]
    if not is_same:
        words = "Object storage does not give back what was written."
        return [Finding(check="storage", level=Level.WRONG, message=words, advice="Check [storage].")]
    return [good("storage", "Object storage takes and gives objects.")]


def now_utc() -> datetime:
    """The time."""
    return datetime.now(UTC)
