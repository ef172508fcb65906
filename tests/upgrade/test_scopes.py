"""A staging database of the first version: its rows and members stay, and devices are sent nothing they have."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from satchel.database import migrate as migrations
from satchel.database.pool import Database
from satchel.database.server import drop_database, ensure_database, url_of
from satchel.jobs.publish import bring_into_force, prepare
from satchel.model.ids import BucketId
from satchel.model.packing import pack_buckets
from satchel.sync.cursor import CursorSeal, CursorState
from tests.support.field_organization import StagedOrganization, compiled, item, profile
from tests.support.line_device import LineDevice

OWNER, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
FIRST = (Path(migrations.__file__).parent / "migrations/staging/0001_pre_base.sql").read_bytes()
OLD_SCOPE = {"entities": [{"name": "contact"}], "bindings": [{"family": {"entity": "contact"}, "by": "everyone"}]}
ROWS = 50


@pytest.fixture
async def old(postgres_url: str) -> AsyncIterator[Database]:
    """A staging database as the first version left it: 50 contacts of two owners, by owner."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    await ensure_database(postgres_url, name)
    async with Database(url_of(postgres_url, database=name), pool_size=4) as database:
        async with database.transaction() as connection:
            await connection.execute("create schema satchel")
            await connection.execute("create table satchel.version (number integer not null)")
            await connection.execute("insert into satchel.version values (1)")
            await connection.execute(FIRST)
            await connection.execute(
                "insert into satchel.head (epoch, op, scope) values ('e', %s, %s)", [ROWS, json.dumps(OLD_SCOPE)]
            )
            await connection.execute(
                "create table staging.contact (_row bigint primary key default nextval('satchel.row_id'), _etag text,"
                " _live boolean not null default true, id uuid unique, name text, owner uuid)"
            )
            await connection.execute(
                "insert into staging.contact (id, name, owner)"
                " select md5('c' || n)::uuid, 'c' || n, case when n %% 2 = 0 then %s::uuid else %s::uuid end"
                " from generate_series(1, %s) n",
                [OWNER, OTHER, ROWS],
            )
            await connection.execute(
                "insert into satchel.family (entity, name, state) values ('contact', 'x', 'ready')"
            )
            await connection.execute(
                "insert into satchel.bucket (family, key) select 1, o from unnest(%s::text[]) o", [[OWNER, OTHER]]
            )
            await connection.execute(
                "insert into satchel.member (row_id, bucket, op, is_live) select t._row, b.id, t._row, true"
                " from staging.contact t join satchel.bucket b on b.key = t.owner::text"
            )
            await connection.execute("insert into satchel.watermark (entity, pulled_at) values ('contact', now())")
        yield database
    await drop_database(postgres_url, name)


async def test_devices_keep_what_they_have(old: Database) -> None:
    device = LineDevice(OWNER)
    text = profile(item("contact", rows=["own"], columns=["name", "owner"]), principals="")
    wanted = compiled(text).client_model
    generation = str((await old.fetch("select generation from satchel.watermark"))[0][0])
    entities = {"contact": f"{generation[:8]}/{wanted.entity_by_name['contact'].digest[:8]}"}
    state = CursorState(epoch="e", checkpoint=ROWS, binding=0, held=pack_buckets([BucketId(1)]), entities=entities)
    device.cursor, device.model = CursorSeal([b"k" * 32], "org", f"device of {OWNER}").seal(state), None
    device.rows["contact"] = {
        str(key): {"id": str(key), "name": name, "owner": OWNER}
        for key, name in await old.fetch("select id, name from staging.contact where owner = '" + OWNER + "'")  # type: ignore[arg-type]
    }

    assert await migrations.migrate(old, "staging") > 0
    staged = StagedOrganization(old)
    assert await prepare(staged.work, compiled(text), datetime.now(UTC))
    await bring_into_force(staged.work)
    before = dict(device.rows["contact"])
    await device.sync(old)

    assert device.rows["contact"] == before
    assert device.rows_put == 0
    await staged.change("contact", [{"id": next(iter(before)), "name": "after", "owner": OWNER}])
    await device.sync(old)
    assert (device.rows_put, len(device.rows["contact"])) == (1, ROWS // 2)
