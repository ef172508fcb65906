"""What a device holds is what its user may have: after random histories of data, security, profiles and time, with
syncs cut off anywhere, each device equals the reference evaluator's answer, and no line on the way held more."""

from __future__ import annotations

import asyncio
import copy
import os
import random
import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from obstore.store import LocalStore

from satchel.buckets.bound import bound_buckets
from satchel.buckets.decisions import decide, holds
from satchel.buckets.families import family_ids
from satchel.buckets.snapshots import forget_snapshots
from satchel.database.pool import Database
from satchel.errors import ProfileInvalid
from satchel.jobs.move_windows import move_windows
from satchel.jobs.publish import bring_into_force, prepare
from satchel.jobs.seal_snapshot import Sealing, seal_snapshots
from satchel.staging.head import read_scope
from satchel.staging.principals import read_user
from satchel.storage import Objects
from satchel.sync.images import Images
from tests.support.evaluator import Item, Organization, Profile, Related, Row
from tests.support.field_organization import PRINCIPALS, StagedOrganization, compiled, item, profile
from tests.support.line_device import Line, LineDevice

HISTORIES = int(os.environ.get("SATCHEL_TEST_HISTORIES", "20"))
STEPS = 70
START = datetime(2026, 11, 23, 12, tzinfo=UTC)
DIRECTORY = ("user", "unit", "team", "membership", "role", "userrole", "teamrole", "privilege", "share", "permission",
             "userprofile", "teamprofile")  # fmt: skip
BUSINESS = ("account", "contact", "task", "watch", "product")
COLUMNS = {
    "account": ["name", "owner", "unit", "industry", "parent", "modified", "secret"],
    "contact": ["name", "owner", "unit", "account", "status", "due"],
    "task": ["subject", "owner", "unit", "contact", "due"],
    "watch": ["contact", "account"],
    "product": ["name"],
}
KEYS = {"product": ["code", "size"]}


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def one(o: Organization, entity: str, key: Any) -> Row:
    """The row of that key, or one without values."""
    return o.find(entity, key) or dict.fromkeys(["id", *COLUMNS[entity]])


def pointing(o: Organization, entity: str, lookup: str, row: Row) -> list[Row]:
    return [each for each in o.of(entity) if each[lookup] == row["id"]]


def found(o: Organization, entity: str, keys: list[Any]) -> list[Row]:
    return [row for key in keys if (row := o.find(entity, key)) is not None]


FILTERS: dict[str, list[tuple[str, Any]]] = {
    "account": [
        ("industry eq 1", lambda o, u, x: x["industry"] == 1),
        ("industry in (1,2) and name ne null", lambda o, u, x: x["industry"] in (1, 2) and x["name"] is not None),
        ("owner eq @me or industry gt 2", lambda o, u, x: x["owner"] == u or (x["industry"] or 0) > 2),
        ("name eq @my.region", lambda o, u, x: x["name"] is not None and x["name"] == o.find("user", u)["region"]),
        ("not (owner eq @me)", lambda o, u, x: x["owner"] != u),
        ("owner ne @me and not (industry eq 1)", lambda o, u, x: x["owner"] != u and x["industry"] != 1),
        ("modified ge now() sub duration'P3D'", lambda o, u, x: at(x["modified"]) >= o.now - timedelta(days=3)),
        ("modified lt now() sub duration'P1DT6H'",
         lambda o, u, x: at(x["modified"]) < o.now - timedelta(days=1, hours=6)),
        ("contact.account/any(c: c/status eq 1)",
         lambda o, u, x: any(c["status"] == 1 for c in pointing(o, "contact", "account", x))),
        ("contact.account/any(c: c/owner eq @me and c/status ne 2)",
         lambda o, u, x: any(c["owner"] == u and c["status"] != 2 for c in pointing(o, "contact", "account", x))),
        ("not contact.account/any()", lambda o, u, x: not pointing(o, "contact", "account", x)),
        ("parent/industry eq 1", lambda o, u, x: one(o, "account", x["parent"])["industry"] == 1),
        ("unit in @my.units", lambda o, u, x: x["unit"] is not None and x["unit"] in o.units(o.unit(u))),
        ("owner in @my.teams or parent eq null", lambda o, u, x: x["owner"] in o.teams(u) or x["parent"] is None),
        ("owner in @my.reports", lambda o, u, x: x["owner"] in o.reports(u)),
        ("parent/parent/name eq null",
         lambda o, u, x: one(o, "account", one(o, "account", x["parent"])["parent"])["name"] is None),
    ],
    "contact": [
        ("status eq 1", lambda o, u, x: x["status"] == 1),
        ("account/industry eq 2", lambda o, u, x: one(o, "account", x["account"])["industry"] == 2),
        ("account/owner eq @me", lambda o, u, x: one(o, "account", x["account"])["owner"] == u),
        ("due le now() add duration'P2D'",
         lambda o, u, x: x["due"] is not None and date.fromisoformat(x["due"]) <= (o.now + timedelta(days=2)).date()),
        ("account/modified ge now() sub duration'P3D'",
         lambda o, u, x: (m := one(o, "account", x["account"])["modified"]) is not None
         and at(m) >= o.now - timedelta(days=3)),
        ("watch.contact/any(w: w/account/industry eq 1)",
         lambda o, u, x: any(one(o, "account", w["account"])["industry"] == 1
                             for w in pointing(o, "watch", "contact", x))),
        ("task.contact/any(t: t/due ge now())",
         lambda o, u, x: any(t["due"] is not None and at(t["due"]) >= o.now
                             for t in pointing(o, "task", "contact", x))),
        ("account/parent/owner eq @me or status eq 3",
         lambda o, u, x: x["status"] == 3
         or one(o, "account", one(o, "account", x["account"])["parent"])["owner"] == u),
        ("startswith(name,'n1') or contains(name,'2')",
         lambda o, u, x: x["name"] is not None and (x["name"].startswith("n1") or "2" in x["name"])),
        ("watch.contact/account/any(a: a/owner eq @me)",
         lambda o, u, x: any(a["owner"] == u for w in pointing(o, "watch", "contact", x)
                             for a in found(o, "account", [w["account"]]))),
        ("task.contact/any(t: t/owner eq @me and t/due ge now())",
         lambda o, u, x: any(t["owner"] == u and t["due"] is not None and at(t["due"]) >= o.now
                             for t in pointing(o, "task", "contact", x))),
        ("due ne null and status ne 1", lambda o, u, x: x["due"] is not None and x["status"] != 1),
    ],
    "task": [
        ("contact/account/owner eq @me",
         lambda o, u, x: one(o, "account", one(o, "contact", x["contact"])["account"])["owner"] == u),
        ("due ge now() and due lt now() add duration'P3D'",
         lambda o, u, x: x["due"] is not None and o.now <= at(x["due"]) < o.now + timedelta(days=3)),
        ("contact eq null or subject eq 's1'", lambda o, u, x: x["contact"] is None or x["subject"] == "s1"),
        ("contact/watch.contact/any(w: w/account ne null)",
         lambda o, u, x: any(w["account"] is not None for c in found(o, "contact", [x["contact"]])
                             for w in pointing(o, "watch", "contact", c))),
    ],
    "watch": [("contact ne null", lambda o, u, x: x["contact"] is not None)],
    "product": [
        ("size gt 1", lambda o, u, x: x["size"] > 1),
        ("code in ('p1','p2')", lambda o, u, x: x["code"] in ("p1", "p2")),
    ],
}  # fmt: skip

RELATED: dict[str, list[tuple[str, str, Any]]] = {
    "account": [
        ("parent", "account", lambda o, x: found(o, "account", [x["parent"]])),
        ("account.parent", "account", lambda o, x: pointing(o, "account", "parent", x)),
        ("contact.account", "contact", lambda o, x: pointing(o, "contact", "account", x)),
        ("watch.account/contact", "contact",
         lambda o, x: found(o, "contact", [w["contact"] for w in pointing(o, "watch", "account", x)])),
    ],
    "contact": [
        ("account", "account", lambda o, x: found(o, "account", [x["account"]])),
        ("watch.contact/account", "account",
         lambda o, x: found(o, "account", [w["account"] for w in pointing(o, "watch", "contact", x)])),
        ("account/parent", "account",
         lambda o, x: [p for a in found(o, "account", [x["account"]]) for p in found(o, "account", [a["parent"]])]),
        ("task.contact", "task", lambda o, x: pointing(o, "task", "contact", x)),
        ("account/contact.account", "contact",
         lambda o, x: [c for a in found(o, "account", [x["account"]]) for c in pointing(o, "contact", "account", a)]),
    ],
    "task": [
        ("contact", "contact", lambda o, x: found(o, "contact", [x["contact"]])),
        ("contact/account", "account",
         lambda o, x: [a for c in found(o, "contact", [x["contact"]]) for a in found(o, "account", [c["account"]])]),
        ("contact/account/parent", "account",
         lambda o, x: [p for c in found(o, "contact", [x["contact"]]) for a in found(o, "account", [c["account"]])
                       for p in found(o, "account", [a["parent"]])]),
    ],
    "watch": [
        ("contact", "contact", lambda o, x: found(o, "contact", [x["contact"]])),
        ("account", "account", lambda o, x: found(o, "account", [x["account"]])),
    ],
    "product": [],
}  # fmt: skip


class World:
    """The source, and Satchel's staging of it."""

    def __init__(self, r: random.Random, staged: StagedOrganization) -> None:
        self.r = r
        self.staged = staged
        self.o = Organization(START, {name: {} for name in (*DIRECTORY, *BUSINESS)})
        self.text: list[str] = []

    def guid(self) -> str:
        return str(uuid.UUID(int=self.r.getrandbits(128), version=4))

    def some(self, entity: str) -> str | None:
        rows = self.o.rows[entity]
        return self.r.choice(sorted(rows)) if rows else None

    def maybe(self, entity: str) -> str | None:
        return self.some(entity) if self.r.random() < 0.85 else None

    def principal(self) -> str | None:
        return self.some("user") if self.r.random() < 0.6 else self.some("team")

    async def start(self) -> None:
        for _ in range(4):
            await self.put("unit", {"parent": self.maybe("unit")})
        for _ in range(4):
            await self.put("user", self.user())
        for _ in range(3):
            await self.put("team", {"unit": self.some("unit")})
        for name in ("technician", "manager", "nobody"):
            await self.put("role", {"name": name, "inherits": self.r.choice([0, 1])})
        for user in self.o.rows["user"]:
            await self.put("userrole", {"user": user, "role": self.some("role")})
        for _ in range(12):
            await self.put("privilege", self.privilege())
        for _ in range(3):
            await self.put("permission", self.permission())
            await self.data()

    async def put(self, entity: str, values: Row, key: Any = None) -> None:
        key = key or self.guid()
        row = {"id": key, **values}
        self.o.rows[entity][key] = row
        await self.staged.change(entity, [row])

    async def remove(self, entity: str, key: Any) -> None:
        del self.o.rows[entity][key]
        await self.staged.change(entity, removed=[key if isinstance(key, tuple) else (key,)])

    def user(self) -> Row:
        r = self.r
        return {"name": "u", "unit": self.some("unit"), "disabled": r.random() < 0.1, "manager": self.maybe("user"),
                "region": r.choice(["n1", "n2", None])}  # fmt: skip

    def privilege(self) -> Row:
        entity = self.r.choice(["account", "contact", "task", "watch", "product"])
        return {"role": self.some("role"), "entity": entity, "depth": self.r.choice([1, 1, 2, 4, 8])}

    def permission(self) -> Row:
        return {"profile": "11111111-1111-4111-8111-111111111111", "entity": "account", "attribute": "secret",
                "can_read": self.r.choice([0, 4])}  # fmt: skip

    async def act(self) -> None:
        """One random change of data or security, or several pages at once, as several workers pull them."""
        chance = self.r.random()
        if chance < 0.1:
            entities = self.r.sample(["account", "contact", "task", "watch"], self.r.randint(2, 4))
            await asyncio.gather(*(self.data(entity) for entity in entities))
        elif chance < 0.65:
            await self.data()
        else:
            await self.security()

    async def data(self, entity: str | None = None) -> None:
        """A page of one entity: rows written, or rows removed."""
        r = self.r
        entity = entity or r.choice(["account", "contact", "contact", "task", "watch", "product"])
        if self.o.rows[entity] and r.random() < 0.2:
            keys = r.sample(sorted(self.o.rows[entity]), min(len(self.o.rows[entity]), r.randint(1, 3)))
            for key in keys:
                del self.o.rows[entity][key]
            await self.staged.change(entity, removed=[key if isinstance(key, tuple) else (key,) for key in keys])
            return
        rows = []
        for _ in range(r.randint(1, 4)):
            row = self.business_row(entity)
            key = self.some(entity) if r.random() < 0.5 else None
            if entity == "product":
                key = row["code"], row["size"]
            else:
                key = key or self.guid()
                known = self.o.rows[entity].get(key, {})
                kept = {name: value for name, value in known.items() if r.random() < 0.5}
                row = {"id": key, **row, **{name: value for name, value in kept.items() if name != "id"}}
            self.o.rows[entity][key] = row
            rows.append(row)
        await self.staged.change(entity, rows)

    def business_row(self, entity: str) -> Row:
        r = self.r
        owned = {"owner": self.principal(), "unit": self.maybe("unit")}
        match entity:
            case "account":
                return {"name": f"n{r.randint(1, 3)}", **owned, "industry": r.choice([1, 2, 3, None]),
                        "parent": self.maybe("account"), "modified": self.moment(), "secret": "9.50"}  # fmt: skip
            case "contact":
                due = None if r.random() < 0.2 else self.moment()[:10]
                return {"name": f"n{r.randint(1, 30)}", **owned, "account": self.maybe("account"),
                        "status": r.choice([1, 2, 3, None]), "due": due}  # fmt: skip
            case "task":
                return {"subject": f"s{r.randint(1, 2)}", **owned, "contact": self.maybe("contact"),
                        "due": None if r.random() < 0.2 else self.moment()}  # fmt: skip
            case "watch":
                return {"contact": self.maybe("contact"), "account": self.maybe("account")}
        return {"code": f"p{r.randint(0, 4)}", "size": r.randint(1, 3), "name": f"n{r.randint(0, 99)}"}

    def moment(self) -> str:
        return iso(self.o.now + timedelta(hours=self.r.randint(-120, 120)))

    async def security(self) -> None:
        r = self.r
        kind = r.choice(["user", "unit", "team", "membership", "userrole", "teamrole", "privilege", "share", "share",
                         "permission", "userprofile", "role"])  # fmt: skip
        key = self.some(kind)
        if key and r.random() < 0.4 and kind not in {"user", "role", "unit"}:
            await self.remove(kind, key)
            return
        if kind in {"membership", "userrole", "teamrole", "share", "userprofile"} and r.random() < 0.7:
            key = None
        business = self.some(r.choice(["account", "contact", "task"]))
        values: dict[str, Row] = {
            "user": self.user(),
            "unit": {"parent": self.maybe("unit")},
            "team": {"unit": self.some("unit")},
            "membership": {"user": self.some("user"), "team": self.some("team")},
            "role": {"name": r.choice(["technician", "manager"]), "inherits": r.choice([0, 1])},
            "userrole": {"user": self.some("user"), "role": self.some("role")},
            "teamrole": {"team": self.some("team"), "role": self.some("role")},
            "privilege": self.privilege(),
            "share": {"row": business, "principal": self.principal(), "rights": r.choice([1, 2, 3])},
            "permission": self.permission(),
            "userprofile": {"user": self.some("user"), "profile": "11111111-1111-4111-8111-111111111111"},
        }
        if kind in {"user", "unit", "role"}:
            key = key or self.some(kind)
        await self.put(kind, values[kind], key)

    # Profiles

    def profiles(self) -> tuple[list[Profile], list[str]]:
        """Random profiles, as Python and as text; often the ones before with another item."""
        if self.o.profiles and self.r.random() < 0.6:
            made = copy.deepcopy(self.o.profiles)
            changed = self.r.choice(made)
            place = self.r.randrange(len(changed.items))
            before = changed.items[place]
            changed.items[place] = self.item(before.entity, [each.entity for each in changed.items])
            changed.items[place].columns = before.columns
            return made, self.texts(made)
        made = []
        for number in range(self.r.choice([1, 1, 2])):
            chosen = self.r.sample(BUSINESS, self.r.randint(2, 5))
            items = [self.item(entity, chosen) for entity in chosen]
            assigned: dict[str, list[str]] = {}
            if number:
                assigned = self.r.choice([{"users": [self.some("user") or ""]}, {"teams": [self.some("team") or ""]},
                                          {"roles": ["manager"]}])  # fmt: skip
            made.append(Profile(f"p{number}", items, assigned))
        return made, self.texts(made)

    def texts(self, profiles: list[Profile]) -> list[str]:
        texts = []
        for number, made in enumerate(profiles):
            assigned = made.assigned
            lines = [f"{name} = {values!r}" for name, values in assigned.items()]
            head = "[assigned]\n" + "\n".join(lines) if assigned else ""
            # The table of principals stands in the first one only.
            texts.append(profile(*map(text_of, made.items), name=made.name, principals="" if number else PRINCIPALS,
                                 assigned=head))  # fmt: skip
        return texts

    def item(self, entity: str, offered: list[str]) -> Item:
        r = self.r
        words = ["all"] if entity in {"watch", "product"} else ["all", "own", "team", "unit"]
        rows = r.sample(words, r.randint(1, min(2, len(words))))
        # Mostly all columns: where these change, all rows come again, and what a device has is not put to the test.
        columns = COLUMNS[entity] if r.random() < 0.8 else r.sample(COLUMNS[entity], r.randint(1, len(COLUMNS[entity])))
        made = Item(entity, rows, columns=[*KEYS.get(entity, ["id"]), *columns])
        if r.random() < 0.5:
            made.filter_text, made.filter_test = r.choice(FILTERS[entity])
            if r.random() < 0.4:
                made.rows = [*r.sample(rows, r.randint(0, 1)), "custom"]
        paths = [Related(*each, is_direct=r.random() < 0.3) for each in RELATED[entity] if each[1] in offered]
        if paths and r.random() < 0.6:
            made.related = r.sample(paths, r.randint(1, min(2, len(paths))))
            made.combine = r.choice(["or", "or", "and"])
            if made.combine == "or" and r.random() < 0.4 and not made.filter_text:
                made.rows = ["related"]
        return made

    async def publish(self, devices: list[LineDevice]) -> None:
        """Publish other profiles. While they are prepared, devices get what is in force."""
        while True:
            profiles, texts = self.profiles()
            try:
                scope = compiled(*texts)
            except ProfileInvalid as error:
                assert "circle" in error.message or "brings in nothing" in error.message, (error.message, texts)  # noqa: PT017
                continue
            break
        await prepare(self.staged.work, scope, self.o.now)
        for entity in (*DIRECTORY, *BUSINESS):  # what is to be read again is
            await self.staged.change(entity, self.o.of(entity))
        if self.o.profiles:
            if self.r.random() < 0.5:
                await self.act()
            if self.r.random() < 0.5 and devices:
                await self.check(self.r.choice(devices))
        await self.staged.read_to_the_end()
        await bring_into_force(self.staged.work)
        self.o.profiles, self.text = profiles, texts

    async def pass_time(self) -> None:
        self.o.now += timedelta(hours=self.r.randint(1, 60))
        await move_windows(self.staged.work, self.o.now)

    # Checks

    def leaks(self, user: str) -> Any:
        """Frames of a snapshot are held against what was visible when they were chosen, as the lines before them."""
        visible: dict[str, dict[Any, Row]] = {}
        columns: dict[str, set[str]] = {}

        def check(lines: list[Line]) -> None:
            nonlocal visible, columns
            if not any("sealed" in line for line in lines) and lines[0].keys() != {"cursor"}:
                visible, columns = copy.deepcopy(self.o.visible(user)), self.o.columns(user)
            for line in lines:
                if "put" in line:
                    entity = line["put"]
                    assert set(line["columns"]) <= columns[entity], f"columns of {entity}"
                    keys = [line["columns"].index(name) for name in KEYS.get(entity, ["id"])]
                    for row in line["rows"]:
                        key = row[keys[0]] if len(keys) == 1 else tuple(row[place] for place in keys)
                        assert key in visible[entity], f"{entity} {key} left the server"
                        told = dict(zip(line["columns"], row, strict=True))
                        assert "sealed" in line or told == visible[entity][key]

        return check

    async def check(self, device: LineDevice) -> None:
        """Sync in pieces while data changes, then quietly: the device holds exactly the evaluator's answer."""
        await device.sync(self.staged.database, self.r, meanwhile=self.act, check=self.leaks(device.user))
        await device.sync(self.staged.database, check=self.leaks(device.user))
        expected = self.o.visible(device.user)
        assert device.rows.keys() == expected.keys()
        for entity, rows in expected.items():
            assert device.rows[entity].keys() == rows.keys(), (entity, self.text)
            for key, row in rows.items():
                assert device.rows[entity][key] == row, (entity, key)


def text_of(made: Item) -> str:
    settings: dict[str, Any] = {"rows": made.rows, "columns": made.columns}
    if made.filter_text:
        settings["filter"] = made.filter_text
    text = item(made.entity, **settings)
    if made.related:
        rules = [f'{{path = "{each.path}", is_direct = {str(each.is_direct).lower()}}}' for each in made.related]
        text += f'related = [{", ".join(rules)}]\ncombine = "{made.combine}"\n'
    return text


@pytest.mark.parametrize("seed", range(HISTORIES))
async def test_a_device_holds_exactly_what_its_user_may_have(seed: int, staging: Database, tmp_path: Path) -> None:
    r = random.Random(seed)
    staged = StagedOrganization(staging)
    world = World(r, staged)
    _, texts = world.profiles()
    await staged.make(compiled(profile(item("product", rows=["all"]), principals=PRINCIPALS)), START)
    world.text = texts
    await world.start()
    objects = Objects(LocalStore(tmp_path), "the test's folder")
    devices = [LineDevice(user, Images(objects, 10_000)) for user in world.o.rows["user"]]
    await world.publish([])
    for _ in range(STEPS):
        chance = r.random()
        if chance < 0.05:
            await world.publish(devices)
        elif chance < 0.15:
            await world.pass_time()
        elif chance < 0.75:
            await world.act()
        else:
            await world.check(r.choice(devices))
        if r.random() < 0.15:
            await seal(staged, r, objects)
    for device in devices:
        await world.check(device)
        await explained(staging, device.user)
    await seal(staged, r, objects, is_all=True)
    newcomer = LineDevice(r.choice(devices).user, Images(objects, 10_000))  # finds everything sealed
    await newcomer.sync(staging, check=world.leaks(newcomer.user))
    # With several profiles, or permissions for a column, a user's columns may have no image yet.
    has_rows = any(rows for entity, rows in newcomer.rows.items() if entity != "account")
    assert newcomer.rows_in_images > 0 or not has_rows or len(world.o.profiles) > 1
    await world.check(newcomer)


async def seal(staged: StagedOrganization, r: random.Random, objects: Objects, *, is_all: bool = False) -> None:
    """Snapshots of whatever has a row or two, in frames of a few rows; old ones are dropped at once or kept."""
    if is_all:
        async with staged.database.transaction() as connection:
            await forget_snapshots(connection, [])
    sealing = Sealing(
        objects=objects,
        min_rows=1 if is_all else r.choice([1, 2, 4]),
        tail_share=0.01 if is_all else r.choice([0.01, 0.5, 1.0]),
        compression_level=1,
        grace_seconds=r.choice([0.0, 3600.0]),
        forget_seconds=3600.0,
        frame_bytes=r.choice([1, 500, 2000]),
    )
    await seal_snapshots(staged.work, sealing)


async def explained(staging: Database, user_id: str) -> None:
    """What an explanation decides by words is what SQL decided for all buckets."""
    async with staging.snapshot() as connection:
        scope = await read_scope(connection)
        user = await read_user(connection, scope, user_id)
        ids = await family_ids(connection)
        assert user is not None
        bound = {str(bucket) for bucket in await bound_buckets(connection, scope, ids, user)}
        for family in scope.families:
            found = await connection.execute("select id, key from satchel.bucket where family = %s", [ids[family.name]])
            conditions = [binding.condition for binding in scope.bindings if binding.family == family]
            for bucket, key in await found.fetchall():
                decisions = [decide(condition, family, key, user, bound) for condition in conditions]
                assert any(each.holds for each in decisions) is (str(bucket) in bound), (family, key, decisions)
                in_short = [holds(condition, family, key, user, bound) for condition in conditions]
                assert in_short == [each.holds for each in decisions]
