"""Edits of devices: which are stuck and why; tried again, or closed with a reason."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Controller, get, post
from litestar.response import Redirect
from msgspec import Meta

from satchel.administration import edits as administration
from satchel.administration.edits import Handled
from satchel.console.desk import AnyRequest, Desk, Visit, noted
from satchel.console.forms import Form, Name, Number, read_form, read_query
from satchel.console.render import Page, page
from satchel.console.said import said
from satchel.errors import InputInvalid
from satchel.journal.look import Chosen, SeenSet, Show
from satchel.model.edits import Action, Edit, EditOutcome

PAGE_SIZE = 50
_MOST_NUMBERS = 500
Numbers = Annotated[tuple[Annotated[int, Meta(ge=1, le=2**63 - 1)], ...], Meta(max_length=_MOST_NUMBERS)]


class Wanted(Form, frozen=True, kw_only=True):
    """Which sets."""

    show: Show = Show.STUCK
    entity: Name = ""
    user: Name = ""
    device: Name = ""
    after: Number = 0

    @property
    def chosen(self) -> Chosen:
        """The same for the journal."""
        return Chosen(
            show=self.show,
            entity=self.entity or None,
            user=self.user or None,
            device=self.device or None,
            after=self.after,
            limit=PAGE_SIZE,
        )


class Retry(Form, frozen=True, kw_only=True):
    """Sets to try again."""

    number: Numbers = ()


class Close(Form, frozen=True, kw_only=True):
    """Sets to give up, and what their users are told."""

    number: Numbers = ()
    reason: Annotated[str, Meta(max_length=500)] = ""
    even_if_executed: bool = False


class Line(msgspec.Struct, frozen=True):
    """One attribute of an edit."""

    attribute: str
    before: object
    mine: object
    theirs: object
    is_overlap: bool


class Shown(msgspec.Struct, frozen=True):
    """One edit, attribute by attribute."""

    edit: Edit
    told: EditOutcome | None
    lines: list[Line]


class EditsController(Controller):
    """The journal of an organization."""

    path = "/organizations/{name:str}/edits"

    @get()
    async def all(self, name: str, request: AnyRequest, desk: Desk, visit: Visit) -> Page:
        """The chosen sets, oldest first."""
        wanted = read_query(request, Wanted)
        found = await administration.edits_of(desk.rooms, name, wanted.chosen)
        more = found[-1][0].number if len(found) == PAGE_SIZE else 0
        return page("edits.html", visit, name=name, wanted=wanted, found=found, more=more, shows=list(Show))

    @get("/{number:int}")
    async def one(self, name: str, number: int, desk: Desk, visit: Visit) -> Page:
        """One set: what it was made on, what it sets, what the source has, and its words."""
        chosen = Chosen(show=Show.ALL, numbers=(number,)) if 0 < number < 2**63 else Chosen(numbers=())
        found = await administration.edits_of(desk.rooms, name, chosen)
        if not found:
            raise InputInvalid(f"{name} has no edit set {number}.")
        each, who = found[0]
        return page("edit.html", visit, name=name, set=each, who=who, edits=[shown(each, one) for one in each.edits])

    @post("/retry", status_code=303)
    async def retry(self, name: str, request: AnyRequest, desk: Desk, visit: Visit) -> Redirect:
        """Have sets tried again now, unchanged."""
        form = await read_form(request, Retry)
        with noted(visit, "retry edits", organization=name, numbers=form.number):
            handled = await administration.retry(desk.rooms, name, _chosen(form.number))
        return said(f"/organizations/{name}/edits", told_of(handled, "tried again"))

    @post("/close", status_code=303)
    async def close(self, name: str, request: AnyRequest, desk: Desk, visit: Visit) -> Redirect:
        """Give sets up; their users are told why."""
        form = await read_form(request, Close)
        if not form.reason.strip():
            raise InputInvalid("Nothing was changed: say why, as their users are told.")
        with noted(
            visit, "close edits", organization=name, numbers=form.number, even_if_executed=form.even_if_executed
        ):
            handled = await administration.close(
                desk.rooms, name, _chosen(form.number), reason=form.reason.strip(),
                even_if_executed=form.even_if_executed,
            )  # fmt: skip
        return said(f"/organizations/{name}/edits", told_of(handled, "closed"))


def shown(each: SeenSet, edit: Edit) -> Shown:
    """Before, mine and theirs, side by side."""
    told = next((one for one in each.outcome.edits if one.id == edit.id), None) if each.outcome else None
    base, theirs = edit.base or {}, (told.theirs if told else None) or {}
    names = list(edit.values) if edit.action is not Action.DELETE else sorted(theirs or base)
    overlap = told.overlap if told else ()
    lines = [Line(one, base.get(one), edit.values.get(one), theirs.get(one), one in overlap) for one in names]
    return Shown(edit, told, lines)


def told_of(handled: Handled, done: str) -> str:
    """What was done with the chosen sets, in words."""
    words = [f"{len(handled.done)} {done}."]
    if handled.settled:
        words.append(f"{len(handled.settled)} were settled already.")
    if handled.unsure:
        words.append(
            f"{len(handled.unsure)} may have been executed at the source and stay; Satchel finds out by itself."
        )
    return " ".join(words)


def _chosen(numbers: tuple[int, ...]) -> Chosen:
    if not numbers:
        raise InputInvalid("Nothing was changed: choose at least one edit set.")
    return Chosen(show=Show.ALL, numbers=numbers)
