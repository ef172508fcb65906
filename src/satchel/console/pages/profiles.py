"""Offline profiles: what is in force; a new text is checked, counted and compared before it is published."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

import msgspec
from litestar import Controller, get, post
from litestar.response import Redirect
from msgspec import Meta

from satchel.access.profiles import parse_profile
from satchel.administration import profiles as administration
from satchel.administration.preview import Preview
from satchel.administration.profiles import Difference
from satchel.console.desk import AnyRequest, Desk, Visit, noted
from satchel.console.forms import Form, Name, address, read_form, read_query
from satchel.console.render import Page, page
from satchel.console.said import said
from satchel.errors import ConfigError

MAX_PROFILE_CHARACTERS = 500_000
USERS_COUNTED = 100
COUNTED_AT_ONCE = 2
"""Each count sorts whole tables at the source's copy; who presses the button again waits."""
_counting = asyncio.Semaphore(COUNTED_AT_ONCE)
Comment = Annotated[str, Meta(max_length=500)]
Text = Annotated[str, Meta(max_length=MAX_PROFILE_CHARACTERS)]
Version = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class Which(Form, frozen=True, kw_only=True):
    """A profile, and a version of it; 0: what is in force, else the newest."""

    profile: Name
    version: Version = 0


class Draft(Form, frozen=True, kw_only=True):
    """A text, and what is to be done with it."""

    text: Text
    comment: Comment = ""
    seen: Version = 0
    """The version in force that the text was compared with."""
    act: Literal["check", "keep", "publish"] = "check"


class Chosen(Form, frozen=True, kw_only=True):
    """A profile, and what is to be done with it."""

    profile: Name
    version: Version = 0
    comment: Comment = ""
    seen: Version = 0
    """The version that was in force on the page it was decided on."""


class Checked(msgspec.Struct, frozen=True):
    """What a text comes to."""

    profile: str = ""
    problem: str = ""
    hint: str = ""
    difference: Difference | None = None
    preview: Preview | None = None
    seen: int = 0


class ProfilesController(Controller):
    """The profiles of an organization."""

    path = "/organizations/{name:str}/profiles"

    @get()
    async def all(self, name: str, desk: Desk, visit: Visit) -> Page:
        """What is in force, and what is not."""
        found = await administration.profiles_of(desk.rooms, name)
        return page("profiles.html", visit, name=name, profiles=found)

    @get("/show")
    async def one(self, name: str, request: AnyRequest, desk: Desk, visit: Visit) -> Page:
        """One profile: a version's text, and its history."""
        which = read_query(request, Which)
        versions, publications = await administration.profile_history(desk.rooms, name, which.profile)
        in_force = next((each for each in versions if each.is_published), None)
        shown = next((each for each in versions if each.version == which.version), in_force or versions[-1])
        return page(
            "profile.html", visit, name=name, profile=which.profile, shown=shown, in_force=in_force,
            versions=versions[::-1], publications=publications[::-1],
        )  # fmt: skip

    @get("/edit")
    async def edit(self, name: str, request: AnyRequest, desk: Desk, visit: Visit) -> Page:
        """A text to change: a version of a profile, or an empty one."""
        which = read_query(request, EditWhich)
        text = ""
        if which.profile:
            versions, _ = await administration.profile_history(desk.rooms, name, which.profile)
            text = next((each.text for each in versions if each.version == which.version), versions[-1].text)
        return page("profile-edit.html", visit, name=name, text=text, comment="", checked=None)

    @post("/draft", status_code=200)
    async def draft(self, name: str, request: AnyRequest, desk: Desk, visit: Visit) -> Page | Redirect:
        """Check a text, keep it as a draft, or publish it."""
        form = await read_form(request, Draft)
        text = form.text.replace("\r\n", "\n")
        if form.act == "check":
            checked = await check(desk, name, text)
            return page("profile-edit.html", visit, name=name, text=text, comment=form.comment, checked=checked)
        with noted(visit, f"{form.act} profile", organization=name):
            version, _ = await administration.import_profile(desk.rooms, name, text, form.comment)
            to = address(f"/organizations/{name}/profiles/show", profile=version.name, version=version.version)
            words = f"{version.name}, version {version.version}, is kept as a draft."
            if form.act == "publish":
                await administration.publish_profile(
                    desk.rooms, name, version.name, version.version, form.comment, seen=form.seen
                )
                words = f"{version.name}, version {version.version}, comes into force as soon as its rows are sorted."
        return said(to, words)

    @post("/publish", status_code=303)
    async def publish(self, name: str, request: AnyRequest, desk: Desk, visit: Visit) -> Redirect:
        """Bring a version that is kept into force."""
        form = await read_form(request, Chosen)
        with noted(visit, "publish profile", organization=name, profile=form.profile, version=form.version):
            found = await administration.publish_profile(
                desk.rooms, name, form.profile, form.version or None, form.comment, seen=form.seen
            )
        words = f"{found.name}, version {found.version}, comes into force as soon as its rows are sorted."
        return said(_shown(name, form.profile), words)

    @post("/roll-back", status_code=303)
    async def roll_back(self, name: str, request: AnyRequest, desk: Desk, visit: Visit) -> Redirect:
        """Bring the version into force that was before."""
        form = await read_form(request, Chosen)
        with noted(visit, "roll back profile", organization=name, profile=form.profile):
            found = await administration.roll_back_profile(desk.rooms, name, form.profile, form.comment, seen=form.seen)
        return said(_shown(name, form.profile), f"{found.name}, version {found.version}, comes into force again.")

    @post("/withdraw", status_code=303)
    async def withdraw(self, name: str, request: AnyRequest, desk: Desk, visit: Visit) -> Redirect:
        """Take a profile out of force; its versions are kept."""
        form = await read_form(request, Chosen)
        with noted(visit, "withdraw profile", organization=name, profile=form.profile):
            await administration.withdraw_profile(desk.rooms, name, form.profile, form.comment, seen=form.seen)
        return said(_shown(name, form.profile), f"{form.profile} is no longer in force.")


class EditWhich(Form, frozen=True, kw_only=True):
    """A version to begin with; none: an empty text."""

    profile: Name = ""
    version: Version = 0


async def check(desk: Desk, name: str, text: str) -> Checked:
    """What a text would come to: nothing is kept. What is wrong with it is told on the page."""
    try:
        profile = parse_profile(text).name
        async with _counting:
            seen = await administration.version_in_force(desk.rooms, name, profile)
            difference, preview = await asyncio.gather(  # each asks the source
                administration.compare_profiles(desk.rooms, name, profile, text),
                administration.preview_profile(desk.rooms, name, text, None, USERS_COUNTED),
            )
    except ConfigError as error:
        return Checked(problem=error.message, hint=error.hint)
    return Checked(profile, difference=difference, preview=preview, seen=seen)


def _shown(name: str, profile: str) -> str:
    return address(f"/organizations/{name}/profiles/show", profile=profile)
