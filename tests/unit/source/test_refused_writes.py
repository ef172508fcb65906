"""What a source answers to writes: refusals come to an end where nobody may look; answers belong to their requests."""

from __future__ import annotations

import msgspec
import pytest

from satchel.errors import SourceUnreachable
from satchel.model.edits import Action
from satchel.model.metadata import Attribute, AttributeType, Entity
from satchel.model.writes import Execution, Write
from satchel.source import Connection, open_source
from tests.unit.source.fake_service import Asked, FakeService, Reply

ORDER = Entity(
    name="Orders",
    set_name="Orders",
    key=("id",),
    attributes=(
        Attribute(name="id", wire_name="id", type=AttributeType.INTEGER),
        Attribute(name="text", wire_name="text", type=AttributeType.STRING),
    ),
)


MULTIPART = {"content-type": "multipart/mixed; boundary=b"}


def answers(*numbers: int) -> bytes:
    """The answer to a change set; the rows in this order."""
    parts = [
        f"--c\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
        f'{{"id": {number}, "text": "{number}"}}\r\n'
        for number in numbers
    ]
    inner = "".join(parts) + "--c--\r\n"
    return f"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n{inner}--b--\r\n".encode()


def updates() -> list[Write]:
    return [Write(entity=ORDER, key=(key,), action=Action.UPDATE, values={"text": key}) for key in ("1", "2")]


@pytest.mark.parametrize(("action", "status"), [(Action.CREATE, 403), (Action.UPDATE, 404), (Action.DELETE, 404)])
async def test_a_refusal_counts_where_the_row_cannot_be_looked_at(
    service: FakeService, action: Action, status: int
) -> None:
    def respond(asked: Asked) -> Reply:
        if asked.method == "GET":
            return Reply({"error": {"code": "no", "message": "Rows cannot be read by key."}}, 403)
        return Reply({"error": {"code": "closed", "message": "The year is closed."}}, status)

    service.respond = respond
    source = open_source(Connection(kind="odata", url=service.root))
    try:
        values = {} if action is Action.DELETE else {"text": "x"}
        played = await source.play([Write(entity=ORDER, key=("1",), action=action, values=values)], None, "set")
    finally:
        await source.aclose()
    assert (played.execution, played.code, played.message) == (Execution.REFUSED, "closed", "The year is closed.")


async def test_answers_to_a_change_set_belong_to_the_requests_that_they_name(service: FakeService) -> None:
    """A service may answer in an order of its own."""
    service.respond = lambda _: Reply(answers(2, 1), 200, MULTIPART)
    source = open_source(Connection(kind="odata", url=service.root))
    try:
        played = await source.play(updates(), None, "set")
    finally:
        await source.aclose()
    assert [row and msgspec.json.decode(row)["id"] for row in played.rows] == [1, 2]


async def test_one_that_took_batches_is_not_taken_for_one_that_cannot(service: FakeService) -> None:
    """A gateway in front of it answers once that there is nothing here."""
    source = open_source(Connection(kind="odata", url=service.root))
    try:
        service.respond = lambda _: Reply(answers(1, 2), 200, MULTIPART)
        assert (await source.play(updates(), None, "set")).execution is Execution.DONE
        service.respond = lambda _: Reply(b"<h1>Not found</h1>", 404, {"content-type": "text/html"})
        with pytest.raises(SourceUnreachable):
            await source.play(updates(), None, "set")
        service.respond = lambda _: Reply(answers(1, 2), 200, MULTIPART)
        assert (await source.play(updates(), None, "set")).execution is Execution.DONE
    finally:
        await source.aclose()
