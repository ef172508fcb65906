"""The whole examination, once for `satchel doctor`, again and again in the provisioning service."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence

import structlog

from satchel.administration.doctor.finding import Finding, Level, good
from satchel.administration.doctor.installation import (
    look_at_certificates,
    look_at_disk,
    look_at_processes,
    look_at_queue,
    look_at_storage,
    look_at_version,
    now_utc,
)
from satchel.administration.doctor.organizations import Seen, look_at_organization
from satchel.assembly import Rooms
from satchel.database.migrate import lacking
from satchel.errors import SatchelError
from satchel.provisioning.organizations import Organization
from satchel.provisioning.processes import Processes
from satchel.telemetry import metrics
from satchel.work.queue import QueueState, queue_state

AT_ONCE = 6
DATABASE_SECONDS = 15.0
FIRST_SECONDS = 10.0
log = structlog.get_logger()
Standing = dict[str, Seen]


async def examine(rooms: Rooms, *, is_asking: bool) -> tuple[list[Finding], Standing, QueueState | None]:
    """Findings, the worst first, and what was seen. `is_asking`: sources are asked too. No error but a finding."""
    try:
        async with asyncio.timeout(DATABASE_SECONDS):
            async with rooms.control.connection() as connection:
                version = look_at_version("control database", await lacking(connection, "control"))
            processes = await Processes(rooms.control).all()
            queue = await queue_state(rooms.control)
            organizations = await rooms.organizations.all()
    except (SatchelError, TimeoutError) as error:
        words = error.message if isinstance(error, SatchelError) else "The control database does not answer in time."
        advice = "Is the server up? Devices keep what they have; polls with nothing new are still answered."
        found = [Finding(check="database", level=Level.WRONG, message=words, advice=advice)]
        return [*found, *await look_at_storage(rooms)], {}, None
    found = [good("database", "The control database answers."), *look_at_processes(processes), *look_at_queue(queue)]
    found += version
    found += look_at_certificates(rooms, processes, now_utc())
    disks = {each.host: each.facts for each in processes if not each.is_dead and each.facts.disk_total_bytes}
    for host, facts in disks.items():
        found += look_at_disk(f"Disk of {host}", facts.disk_free_bytes, facts.disk_total_bytes)
    if not disks and rooms.settings.data_folder.exists():
        usage = shutil.disk_usage(rooms.settings.data_folder)
        found += look_at_disk(str(rooms.settings.data_folder), usage.free, usage.total)
    found += await look_at_storage(rooms)
    more, seen = await _look_at_all(rooms, organizations, is_asking=is_asking)
    return sorted(found + more, key=lambda each: -each.level), seen, queue


async def _look_at_all(
    rooms: Rooms, organizations: Sequence[Organization], *, is_asking: bool
) -> tuple[list[Finding], Standing]:
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(organization: Organization) -> tuple[list[Finding], Seen | None]:
        async with limit:
            return await look_at_organization(rooms, organization, now_utc(), is_asking=is_asking)

    looked = await asyncio.gather(*map(one, organizations))
    seen = {o.name: each[1] for o, each in zip(organizations, looked, strict=True) if each[1] is not None}
    return [finding for findings, _ in looked for finding in findings], seen


async def keep_examining(rooms: Rooms, every_seconds: float) -> None:
    """Examine all the time, until cancelled: the metrics show it, the log tells what is new and what is over."""
    known: dict[tuple[str, str, str], Finding] = {}
    await asyncio.sleep(min(every_seconds, FIRST_SECONDS))  # the others start as well
    while True:
        try:
            findings, seen, queue = await examine(rooms, is_asking=False)
            bad = {each.key: each for each in findings if each.level is not Level.GOOD}
            _tell(known, bad)
            known = bad
            _show(list(bad.values()), seen, queue)
        except Exception as error:  # what looks after the others must not end
            log.warning("not examined", reason=type(error).__name__, exc_info=error)
        await asyncio.sleep(every_seconds)


def _tell(known: dict[tuple[str, str, str], Finding], bad: dict[tuple[str, str, str], Finding]) -> None:
    for key in bad.keys() - known.keys():
        each = bad[key]
        told = {"check": each.check, "subject": each.subject, "reason": each.message, "advice": each.advice}
        organization = {"organization": each.organization} if each.organization else {}
        log.warning("found", **told, **organization)
    for key in known.keys() - bad.keys():
        each = known[key]
        organization = {"organization": each.organization} if each.organization else {}
        log.info("over", check=each.check, subject=each.subject, reason=each.message, **organization)


def _show(bad: list[Finding], seen: Standing, queue: QueueState | None) -> None:
    now = now_utc()
    counts: dict[tuple[str, ...], float] = {}
    for each in bad:
        labels = (each.check, each.level.word, each.organization)
        counts[labels] = counts.get(labels, 0) + 1
    metrics.replace_gauge("satchel_findings", counts.items())
    metrics.set_gauge("satchel_looked_at_seconds", now.timestamp())
    if queue is None:
        return
    metrics.replace_gauge("satchel_queue_items", [(("waiting",), queue.waiting), (("doing",), queue.doing)])
    metrics.set_gauge("satchel_queue_age_seconds", queue.age_seconds)
    marks = [(name, entity, mark) for name, one in seen.items() for entity, mark in one.watermarks.items()]
    metrics.replace_gauge(
        "satchel_pull_lag_seconds",
        [((name, e), (now - mark.pulled_at).total_seconds()) for name, e, mark in marks if mark.pulled_at],
    )
    metrics.replace_gauge(
        "satchel_delta_link_age_seconds",
        [((name, e), (now - mark.watermark.taken_at).total_seconds()) for name, e, mark in marks
         if mark.watermark and mark.watermark.taken_at],
    )  # fmt: skip
    backlogs = [(name, one.backlog) for name, one in seen.items()]
    states = [((name, "waiting"), float(each.waiting)) for name, each in backlogs]
    metrics.replace_gauge(
        "satchel_playback_backlog", states + [((name, "held"), float(each.held)) for name, each in backlogs]
    )
    metrics.replace_gauge(
        "satchel_playback_age_seconds",
        [
            ((name,), (now - each.oldest_due_at).total_seconds() if each.oldest_due_at else 0.0)
            for name, each in backlogs
        ],
    )
    images = [((name, state), float(count)) for name, one in seen.items() for state, count in one.snapshots.items()]
    metrics.replace_gauge("satchel_snapshots", images)
    metrics.replace_gauge(
        "satchel_unusable_rows", [((name,), float(sum(one.unusable.values()))) for name, one in seen.items()]
    )
