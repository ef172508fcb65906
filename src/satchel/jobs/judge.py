"""Judging an edit set before the source is asked: may this user do it, does it fit, whose change counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from satchel.access.user_model import user_model
from satchel.buckets.bound import bound_buckets
from satchel.buckets.families import family_ids
from satchel.database.pool import Connection
from satchel.journal.rows import row_name
from satchel.journal.sets import JournaledSet, known_rows
from satchel.model.client_model import ClientEntity, ClientModel
from satchel.model.conflict import Course, Decision, Known, decide
from satchel.model.edits import Action, Edit, EditOutcome, Outcome, Reason, Verdict
from satchel.model.keys import key_problem
from satchel.model.metadata import AttributeType, Entity, Right
from satchel.model.scope import Scope
from satchel.model.user import User
from satchel.model.validation import problems
from satchel.model.writes import Write
from satchel.staging.head import read_head, read_scopes
from satchel.staging.image import Image, is_member, read_image
from satchel.staging.rights import has_right, may
from satchel.staging.users import Users
from satchel.staging.watermark import positions


class JudgedEdit(msgspec.Struct, frozen=True):
    """An edit that may be executed, with what was found."""

    edit: Edit
    entity: Entity
    """As it is staged."""
    client: ClientEntity
    """As the user has it."""
    theirs: Image | None
    known: Known | None
    decision: Decision
    position: int | None = None
    """Of its entity, by `staging.watermark.positions`."""

    @property
    def write(self) -> Write:
        """What the source is asked for."""
        etag = self.theirs.etag if self.theirs is not None and self.theirs.is_live else None
        edit = self.edit
        return Write(entity=self.entity, key=edit.key, action=edit.action, values=edit.values, etag=etag)

    @property
    def has_own_key(self) -> bool:
        """The key of a new row is one that only the device can have made: a GUID."""
        key = self.entity.key
        return len(key) == 1 and self.entity.attribute_by_name[key[0]].type is AttributeType.GUID

    @property
    def write_needed(self) -> bool:
        """The source is to be asked."""
        return self.decision.course is Course.WRITE

    def done(self) -> JudgedEdit:
        """The same edit, executed before."""
        return msgspec.structs.replace(self, decision=Decision(Course.NOTHING, is_merged=self.decision.is_merged))


class Judgement(msgspec.Struct, frozen=True):
    """What is to become of a set: a verdict, or writes."""

    outcome: Outcome | None
    """Set: the source need not be asked."""
    edits: tuple[JudgedEdit, ...] = ()
    carried: Mapping[str, Any] = {}
    """What the device's earlier edits made of the rows stays known where this set is not executed."""

    @property
    def writes(self) -> list[JudgedEdit]:
        """The edits that change something."""
        return [judged for judged in self.edits if judged.write_needed]


class Refusal(Exception):
    """An edit cannot be executed."""

    def __init__(self, edit: Edit, reason: Reason, message: str, code: str = "") -> None:
        """Keep which, and why."""
        super().__init__(message)
        self.outcome = EditOutcome(
            id=edit.id, verdict=Verdict.REJECTED, reason=reason, code=code or f"satchel/{reason.value}", message=message
        )


class Judge:
    """Judges sets as of one snapshot; what is the same for all sets of a user is read once."""

    def __init__(self, connection: Connection, users: Users) -> None:
        """The connection is a snapshot."""
        self._connection = connection
        self._users = users
        self._of_user: dict[str, tuple[User | None, ClientModel, list[int]]] = {}

    async def judge(self, journaled: JournaledSet, *, is_past: bool = False) -> Judgement:
        """What is to become of the set. `is_past`: it may have been executed; rights are not asked for again, as the
        edits themselves may have taken them away."""
        scopes = await read_scopes(self._connection)
        known = await known_rows(self._connection, journaled.edits, device=journaled.device)
        judged: list[JudgedEdit] = []
        for edit in journaled.edits:
            try:
                judged.append(
                    await self._judge(journaled, edit, scopes.in_force, scopes.maintained, known, is_past=is_past)
                )
            except Refusal as refusal:
                return Judgement(outcome_of(journaled, Verdict.REJECTED, [refusal.outcome]))
        for course, verdict in ((Course.CONFLICT, Verdict.CONFLICT), (Course.SUPERSEDED, Verdict.SUPERSEDED)):
            met = [each for each in judged if each.decision.course is course]
            if met:
                outcome = outcome_of(journaled, verdict, [_met(each, verdict) for each in met])
                return Judgement(outcome, tuple(judged), known)
        return Judgement(None, tuple(judged))

    async def client_model(self, user_id: str) -> ClientModel:
        """What the user has."""
        return (await self._user(user_id, (await read_scopes(self._connection)).in_force))[1]

    async def seen(self, journaled: JournaledSet, edit: Edit) -> dict[str, Any] | None:
        """The edit's row as its user may see it now; None: it is gone, or is not (any more) among theirs."""
        scopes = await read_scopes(self._connection)
        user, model, buckets = await self._user(journaled.user_id, scopes.in_force)
        client = model.entity_by_name.get(edit.entity)
        entity = scopes.maintained.entity_by_name.get(edit.entity)
        if user is None or client is None or entity is None:
            return None
        names = [attribute.name for attribute in client.attributes]
        image = await read_image(self._connection, entity, names, edit.key)
        if image is None or not image.is_live or not await is_member(self._connection, image.row_id, buckets):
            return None
        return dict(image.values)

    async def _judge(
        self,
        journaled: JournaledSet,
        edit: Edit,
        scope: Scope,
        staged: Scope,
        known: Mapping[str, Any],
        *,
        is_past: bool,
    ) -> JudgedEdit:
        user, model, buckets = await self._user(journaled.user_id, scope)
        if is_past:
            model = scope.client_model
        elif user is None or not user.is_enabled:
            raise Refusal(edit, Reason.PRIVILEGE, "This user is not active any more.")
        client = model.entity_by_name.get(edit.entity)
        entity = staged.entity_by_name.get(edit.entity)
        if client is None or entity is None:
            raise Refusal(edit, Reason.MODEL, f"{edit.entity} is not offered to this user.")
        if not is_past:
            _check_values(edit, client, entity)
        names = [attribute.name for attribute in client.attributes]
        theirs = await read_image(self._connection, entity, names, edit.key)
        if user is not None and not is_past:
            await self._check_rights(edit, scope, user, client, theirs, buckets)
        row = theirs.values if theirs is not None and theirs.is_live else None
        before = _known(edit, known)
        decision = decide(client, edit, row, before, stamps=entity.stamps)
        position = (await positions(self._connection, [edit.entity])).get(edit.entity) if row is None else None
        return JudgedEdit(edit, entity, client, theirs, before, decision, position)

    async def _user(self, user_id: str, scope: Scope) -> tuple[User | None, ClientModel, list[int]]:
        if user_id not in self._of_user:
            connection = self._connection
            user = await self._users.find(connection, await read_head(connection), scope, user_id)
            if user is None:
                self._of_user[user_id] = (None, ClientModel(), [])
            else:
                buckets = await bound_buckets(connection, scope, await family_ids(connection), user)
                self._of_user[user_id] = (user, user_model(scope, user), list(buckets))
        return self._of_user[user_id]

    async def _check_rights(
        self,
        edit: Edit,
        scope: Scope,
        user: User,
        client: ClientEntity,
        theirs: Image | None,
        buckets: Sequence[int],
    ) -> None:
        """Errors: Refusal."""
        if edit.action is Action.CREATE:
            self._require(edit, user, Right.CREATE)
            self._require_owner(edit, scope, user)
        else:
            is_theirs = theirs is not None and (
                not theirs.is_live or await is_member(self._connection, theirs.row_id, buckets)
            )
            if theirs is None or not is_theirs:
                raise Refusal(edit, Reason.SCOPE, "The row is not (any more) among those this user works with.")
            if not theirs.is_live and edit.action is Action.UPDATE:
                raise Refusal(edit, Reason.DELETED, "The row was deleted.")
            right = Right.WRITE if edit.action is Action.UPDATE else Right.DELETE
            await self._require_row(edit, scope, user, theirs, right)
            owner = scope.owners.get(edit.entity)
            if owner and owner.owner in edit.values and edit.values[owner.owner] != theirs.values.get(owner.owner):
                await self._require_row(edit, scope, user, theirs, Right.ASSIGN)
        await self._check_lookups(edit, scope, user, client, theirs)

    async def _check_lookups(
        self, edit: Edit, scope: Scope, user: User, client: ClientEntity, theirs: Image | None
    ) -> None:
        """What the row is made to refer to. Errors: Refusal."""
        lookups = [a for a in client.attributes if a.targets and edit.values.get(a.name) is not None]
        owner_name = scope.owners[edit.entity].owner if edit.entity in scope.owners else None
        for attribute in lookups:
            if attribute.name == owner_name:
                continue
            if edit.action is Action.UPDATE and theirs is not None:
                await self._require_row(edit, scope, user, theirs, Right.APPEND)
            self._require(edit, user, Right.APPEND)
            target = edit.values.get(attribute.type_attribute or "") or attribute.targets[0]
            await self._require_target(edit, scope, user, str(target), str(edit.values[attribute.name]))

    def _require_owner(self, edit: Edit, scope: Scope, user: User) -> None:
        """A row made for somebody else. Where the privilege reaches units, only the source knows whose unit it is."""
        owner = scope.owners.get(edit.entity)
        grants = user.rights.get(edit.entity, {}).get(Right.CREATE)
        value = edit.values.get(owner.owner) if owner and owner.owner else None
        if value is None or grants is None or grants.everything or grants.units:
            return
        if value not in grants.owners:
            raise Refusal(edit, Reason.PRIVILEGE, f"{_missing(edit, Right.CREATE)} They allow rows of their own only.")

    async def _require_target(self, edit: Edit, scope: Scope, user: User, target: str, key: str) -> None:
        entity = scope.entity_by_name.get(target)
        image = await read_image(self._connection, entity, entity.key, (key,)) if entity else None
        is_allowed = has_right(user, target, Right.APPEND_TO)
        if is_allowed and image is not None and image.is_live:
            is_allowed = await may(self._connection, scope, user, target, image.row_id, Right.APPEND_TO)
        if not is_allowed:
            message = f"This user's roles do not let rows refer to this row of {target}."
            raise Refusal(edit, Reason.PRIVILEGE, message)

    def _require(self, edit: Edit, user: User, right: Right) -> None:
        if not has_right(user, edit.entity, right):
            raise Refusal(edit, Reason.PRIVILEGE, _missing(edit, right))

    async def _require_row(self, edit: Edit, scope: Scope, user: User, theirs: Image, right: Right) -> None:
        if theirs.is_live and not await may(self._connection, scope, user, edit.entity, theirs.row_id, right):
            raise Refusal(edit, Reason.PRIVILEGE, f"{_missing(edit, right)} This row is not among those they allow.")


def outcome_of(journaled: JournaledSet, verdict: Verdict, edits: Sequence[EditOutcome] = ()) -> Outcome:
    """The verdict on a set."""
    return Outcome(set=journaled.id, version=journaled.version, verdict=verdict, edits=tuple(edits))


def _missing(edit: Edit, right: Right) -> str:
    return f"This user's roles lack the privilege {right.value} for {edit.entity}."


def _met(judged: JudgedEdit, verdict: Verdict) -> EditOutcome:
    theirs = judged.theirs.values if judged.theirs is not None and judged.theirs.is_live else None
    return EditOutcome(id=judged.edit.id, verdict=verdict, overlap=judged.decision.overlap, theirs=theirs)


def _known(edit: Edit, known: Mapping[str, Any]) -> Known | None:
    found = known.get(row_name(edit.entity, edit.key))
    return msgspec.convert(found, Known) if found is not None else None


def _check_values(edit: Edit, client: ClientEntity, entity: Entity) -> None:
    """Errors: Refusal."""
    wrong = key_problem(client, edit.key)
    if wrong is not None:
        raise Refusal(edit, Reason.INVALID, f"{edit.entity}: {wrong.attribute} {wrong.message}.")
    names = {attribute.name for attribute in client.attributes}
    for problem in problems(client, edit.action, edit.values):
        is_gone = problem.attribute and problem.attribute not in names
        attribute = entity.attribute_by_name.get(problem.attribute)
        is_denied = client.is_read_only or (attribute is not None and attribute.is_secured)
        reason = Reason.MODEL if is_gone else Reason.PRIVILEGE if is_denied else Reason.INVALID
        where = f"{edit.entity}.{problem.attribute}" if problem.attribute else edit.entity
        raise Refusal(edit, reason, f"{where}: {problem.message}.")
