"""Whether the audit proves that a write was executed: what is no proof must not count, in neither direction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from satchel.model.edits import Action
from satchel.model.metadata import Attribute, AttributeType, Entity
from satchel.model.writes import Sent, Write
from satchel.source import Connection
from satchel.source.client import Client
from satchel.source.writing.audit import was_executed
from tests.unit.source.fake_service import Asked, FakeService, Hours, Reply

KEY, ME, OTHER = (f"00000000-0000-4000-8000-00000000000{each}" for each in "abc")
TASK = Entity(
    name="task", set_name="tasks", key=("id",),
    attributes=tuple(Attribute(name=n, wire_name=n, type=t) for n, t in (
        ("id", AttributeType.GUID), ("subject", AttributeType.STRING), ("cost", AttributeType.MONEY))),
)  # fmt: skip
OPERATION = {"create": 1, "update": 2, "delete": 3}


@pytest.fixture
async def client(service: FakeService, hours: Hours) -> AsyncIterator[Client]:
    opened = Client(Connection(kind="odata", url=service.root), hours.pace())
    yield opened
    await opened.aclose()


def write(action: str = "update", **values: Any) -> Write:
    return Write(entity=TASK, key=(KEY,), action=Action(action), values=values)


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def audited(seconds_ago: float, user: str = ME, action: str = "update", **new: Any) -> dict[str, Any]:
    """One record of the row."""
    record = {"createdon": ago(seconds_ago), "operation": OPERATION[action], "_userid_value": user}
    return {"AuditRecord": record, "NewValue": new, "OldValue": {n: None for n, v in new.items() if v is None}}


def source(service: FakeService, *records: dict[str, Any], row_changed_ago: float | None = None) -> None:
    """The audit has these records; the row was last changed so long ago, None: it is gone."""

    def respond(asked: Asked) -> Reply:
        if "RetrieveRecordChangeHistory" in asked.path:
            return Reply({"AuditDetailCollection": {"AuditDetails": list(records)}})
        return Reply(status=404) if row_changed_ago is None else Reply({"modifiedon": ago(row_changed_ago)})

    service.respond = respond


SENT = Sent(age_seconds=60)


async def test_a_record_of_the_same_values_since_then_is_proof(client: Client, service: FakeService) -> None:
    source(service, audited(10, OTHER, subject="theirs"), audited(59, subject="mine", cost=2.5))
    assert await was_executed(client, write(subject="mine", cost="2.50"), ME, SENT) is True


@pytest.mark.parametrize(
    "record",
    [
        audited(70, subject="mine"),
        audited(50, OTHER, subject="mine"),
        audited(50, subject="not mine"),
        audited(50, action="create", subject="mine"),
    ],
    ids=["earlier", "another user's", "another value", "another action"],
)
async def test_what_is_no_proof(client: Client, service: FakeService, record: dict[str, Any]) -> None:
    source(service, audited(10, OTHER, subject="theirs"), record)
    assert await was_executed(client, write(subject="mine"), ME, SENT) is False


async def test_an_own_write_just_before_is_no_proof(client: Client, service: FakeService) -> None:
    source(service, audited(10, OTHER, subject="theirs"), audited(60.5, subject="mine"))
    assert await was_executed(client, write(subject="mine"), ME, Sent(age_seconds=60, alone_seconds=0.5)) is None
    assert await was_executed(client, write(subject="mine"), ME, Sent(age_seconds=60, alone_seconds=30)) is True
    source(service, audited(55, subject="mine"), audited(61, subject="mine"))
    assert await was_executed(client, write(subject="mine"), ME, Sent(age_seconds=60, alone_seconds=0.5)) is True


async def test_an_audit_that_is_behind_the_row_proves_nothing(client: Client, service: FakeService) -> None:
    source(service, audited(3600, subject="old"), row_changed_ago=59)
    assert await was_executed(client, write(subject="mine"), ME, SENT) is None
    source(service, audited(3600, subject="old"), row_changed_ago=3600)
    assert await was_executed(client, write(subject="mine"), ME, SENT) is False
    source(service, audited(3600, subject="old"))
    assert await was_executed(client, write("delete"), ME, SENT) is None


async def test_a_row_without_records_is_not_audited_unless_it_was_to_be_made(
    client: Client, service: FakeService
) -> None:
    source(service, row_changed_ago=1)
    assert await was_executed(client, write(subject="mine"), ME, SENT) is None
    assert await was_executed(client, write("create", subject="mine"), ME, SENT) is False


async def test_nobody_who_may_not_ask_is_told(client: Client, service: FakeService) -> None:
    service.respond = lambda _: Reply({"error": {"code": "0x80040220", "message": "no"}}, status=403)
    assert await was_executed(client, write(subject="mine"), ME, SENT) is None
    service.respond = lambda _: Reply(b"<html>")
    assert await was_executed(client, write(subject="mine"), ME, SENT) is None


async def test_what_was_taken_away_shows_among_the_old_values(client: Client, service: FakeService) -> None:
    source(service, audited(50, subject=None))
    assert await was_executed(client, write(subject=None), ME, SENT) is True
    assert await was_executed(client, write(subject="mine"), ME, SENT) is False
