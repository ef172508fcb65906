"""Organizations: all of them at a glance, one in full, and what can be done with one."""

from __future__ import annotations

from typing import Annotated, Literal

import structlog
from litestar import Controller, get, post
from litestar.response import Redirect
from msgspec import Meta

from satchel.administration.organizations import abilities_in_words, pull_now
from satchel.administration.overview import glance, glance_at
from satchel.console.desk import AnyRequest, Desk, Visit, noted
from satchel.console.forms import Form, Name, read_form, read_query
from satchel.console.render import Page, page
from satchel.console.said import said
from satchel.errors import InputInvalid
from satchel.provisioning.schedule import standing_of

PAGE_SIZE = 25
log = structlog.get_logger()


class Listed(Form, frozen=True, kw_only=True):
    """Which part of the list."""

    page: Annotated[int, Meta(ge=1, le=100_000)] = 1
    text: Name = ""


class Pull(Form, frozen=True, kw_only=True):
    """What to pull; empty: all."""

    entity: Name = ""


class Event(Form, frozen=True, kw_only=True):
    """What an organization is to do; to let one go, its name must be typed."""

    event: Literal["provision", "deprovision"]
    name: Name = ""


class OrganizationsController(Controller):
    """All, and one."""

    @get("/")
    async def all(self, request: AnyRequest, desk: Desk, visit: Visit) -> Page:
        """Organizations at a glance."""
        asked = read_query(request, Listed)
        found = [each for each in await desk.rooms.organizations.all() if asked.text.lower() in each.name]
        first = (asked.page - 1) * PAGE_SIZE
        glances = await glance_at(desk.rooms, found[first : first + PAGE_SIZE])
        is_moving = any(each.progress is not None for each in glances)
        return page(
            "organizations.html", visit, glances=glances, asked=asked, total=len(found), size=PAGE_SIZE,
            title=desk.title, refresh=5 if is_moving else 0,
        )  # fmt: skip

    @get("/organizations/{name:str}")
    async def one(self, name: str, request: AnyRequest, desk: Desk, visit: Visit) -> Page:
        """One organization, entity by entity."""
        organization = await desk.rooms.organizations.get(name)
        seen = await glance(desk.rooms, organization)
        standing = await standing_of(desk.rooms.control, organization)
        abilities = abilities_in_words(seen.status.abilities) if seen.status and seen.status.abilities else []
        return page(
            "organization.html", visit, organization=organization, glance=seen, status=seen.status, name=name,
            standing={each.entity: each for each in standing if each.entity},
            others=[each for each in standing if not each.entity], abilities=abilities,
            refresh=5 if seen.progress is not None else 0,
        )  # fmt: skip

    @post("/organizations/{name:str}/pull", status_code=303)
    async def pull(self, name: str, request: AnyRequest, desk: Desk, visit: Visit) -> Redirect:
        """Pull one entity, or all, now."""
        form = await read_form(request, Pull)
        with noted(visit, "pull now", organization=name, entity=form.entity):
            names = await pull_now(desk.rooms, name, form.entity or None)
        return said(f"/organizations/{name}", f"Pulling {form.entity or f'{len(names)} entities'} now.")

    @post("/organizations/{name:str}/event", status_code=303)
    async def event(self, name: str, request: AnyRequest, desk: Desk, visit: Visit) -> Redirect:
        """Provision, or deprovision where the name was typed."""
        form = await read_form(request, Event)
        if form.event == "deprovision" and form.name != name:
            raise InputInvalid(f"Nothing was changed: to let {name} go, type its name.")
        with noted(visit, form.event, organization=name):
            await desk.rooms.events.submit(form.event, name)
        if form.event == "provision":
            return said(f"/organizations/{name}", "It is being provisioned.")
        return said("/", f"{name} is being deprovisioned.")
