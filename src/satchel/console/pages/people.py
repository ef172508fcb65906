"""Users, what each would get and why; their devices: invited, refused, wiped."""

from __future__ import annotations

from typing import Annotated

from litestar import Controller, get, post
from litestar.response import Redirect
from msgspec import Meta

from satchel.administration.devices import block_device, devices_of, wipe_device
from satchel.administration.organizations import invite, sign_in_link, users_of
from satchel.administration.profiles import explain_row, preview_profile
from satchel.console.desk import AnyRequest, Desk, Visit, noted
from satchel.console.forms import Form, Name, read_form, read_query
from satchel.console.render import Page, page
from satchel.console.said import said
from satchel.errors import InputInvalid

MOST_USERS = 100
Key = Annotated[str, Meta(max_length=1000)]


class Search(Form, frozen=True, kw_only=True):
    """Users with this in their name."""

    text: Name = ""


class Asked(Form, frozen=True, kw_only=True):
    """A user, and a row to be explained."""

    id: Name
    entity: Name = ""
    key: Key = ""


class OneUser(Form, frozen=True, kw_only=True):
    """A user."""

    user: Annotated[str, Meta(min_length=1, max_length=200)]


class OneDevice(Form, frozen=True, kw_only=True):
    """A device; to wipe it, its name must be confirmed."""

    device: Annotated[str, Meta(min_length=1, max_length=100)]
    confirmed: bool = False


class PeopleController(Controller):
    """Users and devices of an organization."""

    path = "/organizations/{name:str}"

    @get("/users")
    async def users(self, name: str, request: AnyRequest, desk: Desk, visit: Visit) -> Page:
        """Enabled users of the source."""
        search = read_query(request, Search)
        found = await users_of(desk.rooms, name, MOST_USERS + 1, search.text)
        counts: dict[str, int] = {}
        for device in await devices_of(desk.rooms, name):
            counts[device.user_id] = counts.get(device.user_id, 0) + 1
        link = await sign_in_link(desk.rooms, name) if desk.rooms.settings.sign_in.issuer else ""
        return page(
            "users.html", visit, name=name, search=search, users=found[:MOST_USERS], most=MOST_USERS,
            has_more=len(found) > MOST_USERS, counts=counts, sign_in_link=link,
        )  # fmt: skip

    @get("/user")
    async def user(self, name: str, request: AnyRequest, desk: Desk, visit: Visit) -> Page:
        """What one user gets with what is in force, and why a row is among it."""
        asked = read_query(request, Asked)
        preview = await preview_profile(desk.rooms, name, None, asked.id)
        explanation = None
        if asked.entity and asked.key:
            explanation = await explain_row(desk.rooms, name, asked.id, asked.entity, asked.key)
        devices = [each for each in await devices_of(desk.rooms, name) if each.user_id == asked.id]
        named = [each for each in await users_of(desk.rooms, name, 1, asked.id) if each[0] == asked.id]
        return page(
            "user.html", visit, name=name, asked=asked, preview=preview, explanation=explanation, devices=devices,
            user_name=named[0][1] if named else asked.id,
        )  # fmt: skip

    @post("/invite", status_code=200)
    async def invite(self, name: str, request: AnyRequest, desk: Desk, visit: Visit) -> Page:
        """A one-time enrolment link, shown once."""
        form = await read_form(request, OneUser)
        with noted(visit, "invite", organization=name, user=form.user):
            link = await invite(desk.rooms, name, form.user)
        hours = desk.rooms.settings.enrolment.code_lifetime_hours
        return page("invited.html", visit, name=name, user=form.user, link=link, hours=hours)

    @get("/devices")
    async def devices(self, name: str, desk: Desk, visit: Visit) -> Page:
        """All devices, the newest contact first."""
        found = await devices_of(desk.rooms, name)
        found.sort(key=lambda each: each.last_seen_at or each.created_at, reverse=True)
        return page("devices.html", visit, name=name, devices=found)

    @post("/devices/block", status_code=303)
    async def block(self, name: str, request: AnyRequest, desk: Desk, visit: Visit) -> Redirect:
        """Refuse a device from now on."""
        form = await read_form(request, OneDevice)
        with noted(visit, "block device", organization=name, device=form.device):
            await block_device(desk.rooms, name, form.device, is_blocked=True)
        return said(f"/organizations/{name}/devices", "The device is blocked: it is refused from now on.")

    @post("/devices/unblock", status_code=303)
    async def unblock(self, name: str, request: AnyRequest, desk: Desk, visit: Visit) -> Redirect:
        """Let a device in again."""
        form = await read_form(request, OneDevice)
        with noted(visit, "unblock device", organization=name, device=form.device):
            await block_device(desk.rooms, name, form.device, is_blocked=False)
        return said(f"/organizations/{name}/devices", "The device may come in again.")

    @get("/devices/wipe")
    async def ask_to_wipe(self, name: str, request: AnyRequest, desk: Desk, visit: Visit) -> Page:
        """What a wipe means, before it is ordered."""
        asked = read_query(request, OneDevice)
        found = [each for each in await devices_of(desk.rooms, name) if each.id == asked.device]
        if not found:
            raise InputInvalid(f"{name} has no such device.")
        return page("wipe.html", visit, name=name, device=found[0])

    @post("/devices/wipe", status_code=303)
    async def wipe(self, name: str, request: AnyRequest, desk: Desk, visit: Visit) -> Redirect:
        """Have a device erase all it holds."""
        form = await read_form(request, OneDevice)
        if not form.confirmed:
            raise InputInvalid("Nothing was changed: a wipe must be confirmed, for it cannot be taken back.")
        with noted(visit, "wipe device", organization=name, device=form.device):
            await wipe_device(desk.rooms, name, form.device)
        return said(f"/organizations/{name}/devices", "The wipe is ordered: the device erases all at its next contact.")
