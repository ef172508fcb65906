"""Not Dataverse: what tests and demonstrations steer the sample organization with, below `/sandbox/`."""

from __future__ import annotations

import random
from collections import Counter
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from satchel.sandbox.data.store import Store
from satchel.sandbox.faults import Faults
from satchel.sandbox.odata.answers import Answer, ODataError, Request, not_found, whole_number
from satchel.sandbox.rows.security import Caller
from satchel.sandbox.rows.writing import AUDIT, Writer
from satchel.sandbox.schema.customers import ACCOUNT, CONTACT, INCIDENT, TASK
from satchel.sandbox.schema.kinds import Entity
from satchel.sandbox.schema.organization import BY_NAME

CHANGED = (ACCOUNT, CONTACT, CONTACT, CONTACT, INCIDENT, INCIDENT, TASK)
_TEXT_OF = {"account": "telephone1", "contact": "jobtitle", "incident": "title", "task": "subject"}
_SCOPES = {
    "all": ("1", 0),
    "own": ("t.ownerid = ?", 1),
    "team": ("t.ownerid in (select teamid from teammembership where systemuserid = ?)", 1),
    "unit": ("t.owningbusinessunit = (select businessunitid from systemuser where systemuserid = ?)", 1),
}
_AUDIT_PAGE = 5000
Kind = Literal["create", "update", "delete", "assign"]


class Mutation(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /sandbox/mutate`."""

    count: Annotated[int, Meta(ge=1, le=100_000)]
    seed: int = 0
    kinds: list[Kind] = msgspec.field(
        default_factory=lambda: ["update", "update", "update", "create", "delete", "assign"]
    )


class Control:
    """The control surface."""

    def __init__(self, store: Store, writer: Writer, faults: Faults, caller: Caller) -> None:
        """`caller` is the application user."""
        self._store, self._writer, self._faults, self._caller = store, writer, faults, caller

    def answer(self, request: Request) -> Answer:
        """Answer a request below `/sandbox/`. Errors: ODataError."""
        match request.method, request.path:
            case "GET", "faults":
                return Answer.json(self._faults.switches)
            case "PATCH", "faults":
                return Answer.json(self._faults.change(request.body))
            case "POST", "mutate":
                return Answer.json(self._mutate(request.body))
            case "GET", "visible":
                return Answer.json(self._visible(request))
            case "GET", "audit":
                return Answer.json(self._audit(request))
        raise ODataError(404, "0x0", "There is nothing here.")

    def _mutate(self, body: bytes) -> dict[str, int]:
        """Random changes through the same path as any write; the same seed and rows give the same ones."""
        try:
            mutation = msgspec.json.decode(body, type=Mutation)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ODataError(400, "0x0", f"The mutation is not usable: {error}") from error
        chance = random.Random(mutation.seed)
        owners = self._store.rows("select systemuserid, 'systemuser' from systemuser where isdisabled = 0 order by 1")
        owners += self._store.rows("select teamid, 'team' from team where teamtype = 0 order by 1")
        keys = {entity.name: self._keys(entity) for entity in dict.fromkeys(CHANGED)}
        counts: Counter[str] = Counter()
        with self._store.transaction():
            for _ in range(mutation.count):
                entity, kind = chance.choice(CHANGED), chance.choice(mutation.kinds)
                if self._change(chance, entity, kind, keys[entity.name], owners):
                    counts[kind] += 1
        return dict(counts)

    def _change(
        self, chance: random.Random, entity: Entity, kind: Kind, keys: list[str], owners: list[tuple[str, str]]
    ) -> bool:
        if kind != "create" and not keys:
            return False
        owner, owner_type = chance.choice(owners)
        text = {_TEXT_OF[entity.name]: f"changed {chance.randint(0, 10**9)}"}
        owned = {"ownerid": owner, "ownerid_type": owner_type}
        if kind == "create":
            key = f"{chance.getrandbits(32):08x}-0000-4000-8000-{chance.getrandbits(48):012x}"
            if self._store.row(entity, key) is not None:
                return False  # the same seed again
            self._writer.insert(entity, key, self._new(chance, entity) | text | owned, self._caller)
            keys.append(key)
            return True
        place = chance.randrange(len(keys))
        if kind == "delete":
            keys[place], keys[-1] = keys[-1], keys[place]
            self._writer.remove(entity, keys.pop(), self._caller)
        else:
            self._writer.update(entity, keys[place], text if kind == "update" else owned, self._caller)
        return True

    def _new(self, chance: random.Random, entity: Entity) -> dict[str, object]:
        number = chance.randint(1, 10**6)
        match entity.name:
            case "account":
                return {"name": f"New account {number}", "creditlimit": number}
            case "contact":
                return {
                    "firstname": "New",
                    "lastname": f"Contact {number}",
                    "birthdate": "1980-02-29",
                    "creditlimit": number,
                }
        return {}

    def _keys(self, entity: Entity) -> list[str]:
        return [row[0] for row in self._store.rows(f'select "{entity.key}" from "{entity.name}" order by 1')]

    def _visible(self, request: Request) -> list[str]:
        entity = BY_NAME.get(request.query.get("entity", ""))
        scope = _SCOPES.get(request.query.get("scope", "all"))
        user = request.query.get("user", "")
        if entity is None or scope is None or (scope[1] and not entity.is_user_owned):
            raise ODataError(400, "0x0", "Give entity, scope (all, own, team, unit) and user.")
        disabled = self._store.value("select isdisabled from systemuser where systemuserid = ?", (user,))
        if disabled is None:
            raise not_found("systemuser", user)
        if disabled:
            return []
        condition, count = scope
        query = f'select t."{entity.key}" from "{entity.name}" t where {condition} order by 1'
        return [row[0] for row in self._store.rows(query, [user] * count)]

    def _audit(self, request: Request) -> list[dict[str, object]]:
        after = whole_number(request.query.get("after", "0"))
        if after is None:
            raise ODataError(400, "0x0", "after is a number.")
        names = ", ".join(AUDIT)
        rows = self._store.rows(f"select {names} from _audit where n > ? order by n limit {_AUDIT_PAGE}", (after,))
        return [dict(zip(AUDIT, row, strict=True)) for row in rows]
