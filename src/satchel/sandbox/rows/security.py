"""Who calls and what they may: the application user sees all; a user on whose behalf it acts, what their roles allow.

Source: powerapps-docs, developer/data-platform/security-concepts.md, webapi/impersonate-another-user-web-api.md.
"""

from __future__ import annotations

import msgspec

from satchel.sandbox.data.store import Store
from satchel.sandbox.odata.answers import ODataError, Request
from satchel.sandbox.schema.directory import privilege_name
from satchel.sandbox.schema.kinds import Entity

LOCAL, DEEP, GLOBAL = 2, 4, 8
_HELD = """
select h.principal, c.businessunitid, max(p.privilegedepthmask), max(h.is_team and c.isinherited) from (
    select systemuserid as principal, roleid, 0 as is_team from systemuserroles where systemuserid = ?2
    union
    select r.teamid, r.roleid, 1 from teammembership m join teamroles r on r.teamid = m.teamid where m.systemuserid = ?2
) h
join role c on c.roleid = h.roleid
join roleprivileges p on p.roleid = coalesce(c.parentrootroleid, c.roleid)
join privilege v on v.privilegeid = p.privilegeid
where v.name = ?1 group by h.principal, h.roleid
"""
"""For each role of a user and of their teams: who has it, its unit, its depth, whether members inherit it."""
_SUBTREE = """
t.owningbusinessunit in (with recursive unit(id) as (
    select ? union select b.businessunitid from businessunit b join unit u on b.parentbusinessunitid = u.id)
    select id from unit)
"""
_SHARED = """
t."{key}" in (
    select objectid from principalobjectaccess
    where (accessrightsmask | ifnull(inheritedaccessrightsmask, 0)) & 1
      and (principalid = ? or principalid in (select teamid from teammembership where systemuserid = ?)))
"""


class Caller(msgspec.Struct, frozen=True):
    """Who a request counts for."""

    application: str
    user: str | None = None
    """The user on whose behalf the application acts; None: itself."""

    @property
    def id(self) -> str:
        """The user whose name stands on what is written."""
        return self.user or self.application


def caller_of(store: Store, application: str, request: Request) -> Caller:
    """Who the request counts for, by `CallerObjectId` or `MSCRMCallerID`. Errors: ODataError 403."""
    by_object, by_user = request.headers.get("callerobjectid"), request.headers.get("mscrmcallerid")
    if not by_object and not by_user:
        return Caller(application)
    column = "azureactivedirectoryobjectid" if by_object else "systemuserid"
    wanted = (by_object or by_user or "").strip().lower()
    found = store.rows(f"select systemuserid, isdisabled from systemuser where {column} = ?", (wanted,))
    if not found:
        raise ODataError(403, "0x80040220", f"The user with id {wanted[:60]} was not found in the organization.")
    if found[0][1]:
        raise ODataError(403, "0x80040225", f"The user with id {wanted[:60]} is disabled.")
    return Caller(application, found[0][0])


def readable(store: Store, caller: Caller, entity: Entity) -> tuple[str, list[object]]:
    """The condition (alias t) for rows the caller may read. Errors: ODataError 403 where there are none at all."""
    return _condition(store, caller, entity, "Read")


def require_all(store: Store, caller: Caller, entity: Entity) -> None:
    """Refuse a caller who may not read every row: changes are told to such callers only. Errors: ODataError 403."""
    condition, _ = readable(store, caller, entity)
    if condition != "1":
        raise _missing(caller, entity, "Read", "at organization level")


def require(store: Store, caller: Caller, entity: Entity, right: str, key: str | None = None) -> None:
    """Refuse what the caller may not do to the entity, or to one of its rows. Errors: ODataError 403."""
    condition, values = _condition(store, caller, entity, right)
    if key is None or condition == "1":
        return
    row = store.value(f'select 1 from "{entity.name}" t where t."{entity.key}" = ? and {condition}', [key, *values])
    if row is None:
        raise _missing(caller, entity, right, "on the row")


def _condition(store: Store, caller: Caller, entity: Entity, right: str) -> tuple[str, list[object]]:
    if caller.user is None or (entity.ownership == "None" and right == "Read"):
        return "1", []
    held = store.rows(_HELD, (privilege_name(entity, right), caller.user))
    if not held:
        raise _missing(caller, entity, right, "")
    if max(depth for _, _, depth, _ in held) >= GLOBAL or not entity.is_user_owned:
        return "1", []
    ways: list[str] = []
    values: list[object] = []
    for principal, unit, depth, inherits in held:
        ways.append("t.ownerid = ?")
        values.append(principal)
        if inherits:
            ways.append("t.ownerid = ?")
            values.append(caller.user)
        if depth >= LOCAL:
            ways.append(_SUBTREE if depth >= DEEP else "t.owningbusinessunit = ?")
            values.append(unit)
    if right == "Read":
        ways.append(_SHARED.format(key=entity.key))
        values += [caller.user, caller.user]
    return f"({' or '.join(ways)})", values


def _missing(caller: Caller, entity: Entity, right: str, where: str) -> ODataError:
    name = privilege_name(entity, right)
    text = f"Principal user (Id={caller.id}) is missing {name} privilege {where}".rstrip()
    return ODataError(403, "0x80040220", f"{text}.")
