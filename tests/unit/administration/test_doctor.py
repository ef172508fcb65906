"""What counts as not well, and that it is said with what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from satchel.administration.doctor.finding import Finding, Level, ago
from satchel.administration.doctor.installation import (
    look_at_certificate,
    look_at_disk,
    look_at_processes,
    look_at_queue,
    look_at_version,
)
from satchel.administration.doctor.organizations import (
    look_at_edits,
    look_at_pulls,
    look_at_tenants,
    look_at_work,
)
from satchel.database.migrate import Lacking
from satchel.database.pool import Database
from satchel.identity.certificates import ensure_server_certificate, expiry_of
from satchel.journal.look import Backlog, read_backlog
from satchel.model.changes import Strategy, Watermark
from satchel.provisioning.processes import Process, Processes, ProcessFacts
from satchel.provisioning.schedule import Standing
from satchel.settings.schema import SignIn as SignInSettings
from satchel.staging.watermark import StoredWatermark
from satchel.work.queue import QueueState, WorkQueue, make_queue, queue_state

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
GIB = 2**30


def worst(found: list[Finding]) -> Level:
    assert all(each.advice for each in found if each.level is not Level.GOOD), "each says what to do"
    return max((each.level for each in found), default=Level.GOOD)


def process(service: str, *, silent: float = 1.0, skew: float = 0.0, dropped: int = 0) -> Process:
    return Process(f"{service}-1", service, "host", NOW, silent, skew, ProcessFacts(telemetry_dropped=dropped))


ALL = [process("provisioning"), process("worker"), process("sync")]


def test_three_services_that_live_are_well() -> None:
    assert worst(look_at_processes(ALL)) is Level.GOOD


def test_an_organization_without_a_tenant_among_several_is_told() -> None:
    one, other = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
    entra = "https://login.microsoftonline.com/organizations/v2.0"
    settings = SignInSettings(issuer=entra, device_client_id="c", tenants=f"{one}, {other}")
    assert worst(look_at_tenants("contoso", [], settings)) is Level.WARNING
    assert look_at_tenants("contoso", [one], settings) == []
    assert look_at_tenants("contoso", [], SignInSettings()) == []


def test_a_service_of_which_none_lives_is_wrong() -> None:
    found = look_at_processes([process("provisioning"), process("sync"), process("worker", silent=60)])

    assert worst(found) is Level.WRONG
    assert {each.subject for each in found} == {"worker", "worker-1"}


def test_one_of_two_workers_that_ended_without_a_word_is_told() -> None:
    found = look_at_processes([*ALL, process("worker", silent=60)])

    assert worst(found) is Level.WARNING
    assert "last heard of 60 s ago" in found[0].message


def test_a_database_of_an_older_version_is_told() -> None:
    assert look_at_version("control database", Lacking(0, 0)) == []
    assert worst(look_at_version("control database", Lacking(0, 1))) is Level.WARNING
    assert worst(look_at_version("staging database", Lacking(2, 1), "contoso")) is Level.WRONG


def test_a_clock_that_is_off_and_lost_telemetry_are_told() -> None:
    found = look_at_processes([*ALL, process("worker", skew=-30, dropped=5)])

    assert {each.check for each in found} == {"clock", "telemetry"}


@pytest.mark.parametrize(("age", "level"), [(0, Level.GOOD), (45, Level.WARNING), (500, Level.WRONG)])
def test_a_queue_that_does_not_move(age: float, level: Level) -> None:
    assert worst(look_at_queue(QueueState(9, 1, age))) is level


@pytest.mark.parametrize(
    ("free", "total", "level"),
    [
        (60 * GIB, 1000 * GIB, Level.GOOD),
        (30 * GIB, 100 * GIB, Level.GOOD),
        (5 * GIB, 100 * GIB, Level.WARNING),
        (1 * GIB, 4 * GIB, Level.WARNING),
        (0.4 * GIB, 4 * GIB, Level.WRONG),
        (0, 100 * GIB, Level.WRONG),
    ],
)
def test_a_disk_that_fills_up(free: float, total: float, level: Level) -> None:
    assert worst(look_at_disk("disk", int(free), int(total))) is level


@pytest.mark.parametrize(
    ("days", "level"), [(90, Level.GOOD), (14, Level.WARNING), (2, Level.WRONG), (-1, Level.WRONG)]
)
def test_a_certificate_near_its_end(days: float, level: Level) -> None:
    assert worst(look_at_certificate("x", NOW + timedelta(days=days), NOW)) is level


def test_the_end_of_a_certificate_is_read_from_its_file(tmp_path: Path) -> None:
    made = ensure_server_certificate(tmp_path, ["localhost"])

    assert 396 < (expiry_of(made.cert_file) - datetime.now(UTC)).days + 1 < 399


def mark(*, pulled: float, taken: float = 0.0, problem: str | None = None) -> StoredWatermark:
    position = Watermark(strategy=Strategy.DELTA_LINK, position="x", taken_at=NOW - timedelta(days=taken))
    return StoredWatermark(watermark=position, version=1, must_reconcile=False, reconciled_at=None,
                           pulled_at=NOW - timedelta(seconds=pulled), problem=problem)  # fmt: skip


def standing(work: str = "pull", *, failing: float | None = None, every: float = 30.0) -> Standing:
    entity = "contact" if work == "pull" else ""
    since = NOW - timedelta(seconds=failing) if failing is not None else None
    return Standing(work, entity, every, NOW, "No connection. [E202]" if since else None, since)


@pytest.mark.parametrize(
    ("pulled", "failing", "level"),
    [
        (20, None, Level.GOOD),
        (60, None, Level.WARNING),
        (600, None, Level.WRONG),
        (40, 25, Level.WARNING),
        (40, 5, Level.GOOD),
        (40, 400, Level.WRONG),
    ],
)
def test_a_source_that_stopped_answering_shows_within_a_minute(
    pulled: float, failing: float | None, level: Level
) -> None:
    found = look_at_pulls("contoso", {"contact": mark(pulled=pulled)}, [standing(failing=failing)], NOW, 7.0)

    assert worst(found) is level
    if failing and level is not Level.GOOD:
        assert "[E202]" in found[0].message


@pytest.mark.parametrize(("days", "level"), [(1, Level.GOOD), (4, Level.WARNING), (6, Level.WRONG)])
def test_a_delta_link_near_its_end(days: float, level: Level) -> None:
    found = look_at_pulls("contoso", {"contact": mark(pulled=1, taken=days)}, [standing()], NOW, 7.0)

    assert worst(found) is level
    assert all(each.check == "delta link" for each in found)


@pytest.mark.parametrize("work", ["seal_snapshots", "refresh_model", "move_windows"])
def test_recurring_work_that_does_not_succeed(work: str) -> None:
    found = look_at_work("contoso", [standing(work, failing=90), standing("pull", failing=90)], NOW)

    assert [each.check for each in found] == [work.replace("_", " ")]
    assert worst(found) is Level.WRONG


def test_edits_that_are_stuck() -> None:
    def backlog(**more: object) -> Backlog:
        plain = {"waiting": 0, "trying": 0, "held": 0, "oldest_due_at": None, "oldest_held_at": None, "problem": None}
        return Backlog(**{**plain, **more})  # type: ignore[arg-type]

    assert worst(look_at_edits("c", backlog(), NOW)) is Level.GOOD
    assert worst(look_at_edits("c", backlog(waiting=3, oldest_due_at=NOW - timedelta(seconds=5)), NOW)) is Level.GOOD
    for stuck in (
        backlog(waiting=3, oldest_due_at=NOW - timedelta(seconds=90)),
        backlog(waiting=1, trying=1, problem="No connection. [E202]"),
        backlog(held=2, oldest_held_at=NOW - timedelta(days=2)),
    ):
        assert worst(look_at_edits("c", stuck, NOW)) is Level.WARNING


def test_durations_in_words() -> None:
    assert [ago(s) for s in (5, 200, 8000, 200_000)] == ["5 s", "3 minutes", "2 hours", "2 days"]


# -- against a database -------------------------------------------------------------------------------------------


async def test_a_process_that_ended_without_a_word_stands_until_another_takes_its_place(control: Database) -> None:
    register = Processes(control)
    await register.beat("w-1", "worker", ProcessFacts())
    await register.beat("w-2", "worker", ProcessFacts())
    await control.fetch("update satchel.process set started_at = now() - interval '1 h'")
    await control.fetch("update satchel.process set seen_at = now() - interval '40 s' where instance = 'w-1'")

    await register.beat("w-2", "worker", ProcessFacts())  # it was there before: it is not in the other's place
    assert [(each.instance, each.is_dead) for each in await register.all()] == [("w-1", True), ("w-2", False)]
    await register.beat("w-3", "worker", ProcessFacts())

    assert [each.instance for each in await register.all()] == ["w-2", "w-3"]
    await register.leave("w-3")
    assert [each.instance for each in await register.all()] == ["w-2"]


async def test_the_queues_age_is_that_of_what_could_run(control: Database) -> None:
    async with WorkQueue(control.url) as queue:
        await make_queue(control, queue)
        assert await queue_state(control) == QueueState(0, 0, 0.0)
        task = queue.app.tasks["satchel.pull"]
        for entity, lock in (("a", "x"), ("b", "x"), ("c", "y")):
            await task.configure(lock=lock).defer_async(organization="o", entity=entity)
        await task.configure(schedule_in={"hours": 1}).defer_async(organization="o", entity="later")
        await control.fetch("update procrastinate_events set at = at - interval '50 s'")
        state = await queue_state(control)
        assert state.waiting == 3
        assert 49 < state.age_seconds < 60
        await control.fetch("update procrastinate_jobs set status = 'doing' where args ->> 'entity' = 'a'")

        state = await queue_state(control)

    assert (state.waiting, state.doing) == (1, 1)  # b waits for a's lock


async def test_a_journals_backlog(staging: Database) -> None:
    async with staging.connection() as connection:
        assert (await read_backlog(connection)).waiting == 0
        for state, problem in (("waiting", None), ("waiting", "x [E202]"), ("held", None), ("settled", None)):
            await connection.execute(
                "insert into satchel.edit_set (id, version, device, user_id, made_at, edits, state, problem)"
                " values (gen_random_uuid(), 1, 'd', 'u', '', '[]', %s, %s)",
                [state, problem],
            )

        found = await read_backlog(connection)

    assert (found.waiting, found.trying, found.held, found.problem) == (2, 1, 1, "x [E202]")
    assert found.oldest_due_at
    assert found.oldest_held_at
