"""What makes a row visible, as a typed tree. Made by `access/` from profiles, turned into SQL by `buckets/`. Pure.

Two-valued: a comparison with a missing value is false (`ne`: true), so that `not` is its exact opposite.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Union

import msgspec


class Operator(StrEnum):
    """How a value is compared (OData 4.01, part 2, section 5.1.1)."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GE = "ge"
    LT = "lt"
    LE = "le"
    IN = "in"
    CONTAINS = "contains"
    STARTS_WITH = "startswith"
    ENDS_WITH = "endswith"
    IS_NULL = "null"
    HAS_BIT = "bit"


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step along a lookup."""

    entity: str
    """Where it leads."""
    attribute: str
    """The lookup: of the entity it starts from, or, backward, of the entity it leads to."""
    is_backward: bool = False


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """An attribute of the row, or of the one row that its lookups lead to."""

    attribute: str
    path: tuple[Step, ...] = ()


class Constant(msgspec.Struct, frozen=True, tag="constant"):
    """Always, or never."""

    value: bool


class Comparison(msgspec.Struct, frozen=True, tag="compare", omit_defaults=True):
    """A value of the row against fixed ones (as text; the attribute's type is theirs)."""

    place: Place
    operator: Operator
    values: tuple[str, ...] = ()
    ignores_case: bool = False


class MomentComparison(msgspec.Struct, frozen=True, tag="moment"):
    """A time of the row against now plus an offset: true or false as time passes."""

    place: Place
    operator: Operator
    offset_seconds: int


class UserComparison(msgspec.Struct, frozen=True, tag="user", omit_defaults=True):
    """A value of the row against the user's: `eq`, `ne`, or `in` for those with several values."""

    place: Place
    operator: Operator
    parameter: str
    """`id`, `unit`, `units`, `teams`, `reports`, or `user.` and an attribute of the user's own row."""
    ignores_case: bool = False


class Exists(msgspec.Struct, frozen=True, tag="exists"):
    """There is a row at the end of the path for which the term holds; the term's places count from there."""

    path: tuple[Step, ...]
    term: Condition


class Granted(msgspec.Struct, frozen=True, tag="granted"):
    """The user's security roles let them read the row."""


class Assigned(msgspec.Struct, frozen=True, tag="assigned"):
    """The profile is assigned to the user."""

    profile: str


class Related(msgspec.Struct, frozen=True, tag="related", omit_defaults=True):
    """A row at the end of the path is one that the user takes offline."""

    path: tuple[Step, ...]
    is_direct: bool = False
    """Only rows count that are taken offline for themselves, not as related ones."""


class Every(msgspec.Struct, frozen=True, tag="every"):
    """All terms hold."""

    terms: tuple[Condition, ...]


class Either(msgspec.Struct, frozen=True, tag="either"):
    """At least one term holds."""

    terms: tuple[Condition, ...]


class Opposite(msgspec.Struct, frozen=True, tag="opposite"):
    """The term does not hold."""

    term: Condition


class PartFlag(msgspec.Struct, frozen=True, tag="part_flag"):
    """A part of the bucket's key that is true."""

    part: int


class PartUser(msgspec.Struct, frozen=True, tag="part_user"):
    """A part of the bucket's key against the user's value: `eq`, `ne`, or `in`."""

    part: int
    operator: Operator
    parameter: str


class PartGranted(msgspec.Struct, frozen=True, tag="part_granted", omit_defaults=True):
    """The user's security roles reach rows with these parts: owner, business unit, principals shared with."""

    entity: str
    owner: int | None = None
    unit: int | None = None
    shares: int | None = None


class PartRelated(msgspec.Struct, frozen=True, tag="part_related"):
    """The last part of the key is a bucket that the user is bound to."""


Condition = Union[  # noqa: UP007 - a recursive type needs a name at run time
    Constant, Comparison, MomentComparison, UserComparison, Exists, Granted, Assigned, Related, Every, Either, Opposite,
    PartFlag, PartUser, PartGranted, PartRelated,
]  # fmt: skip
ALWAYS, NEVER = Constant(value=True), Constant(value=False)


def every(*terms: Condition) -> Condition:
    """All of these, simplified."""
    kept: dict[Condition, None] = {}
    for term in terms:
        for part in term.terms if isinstance(term, Every) else (term,):
            if part == NEVER:
                return NEVER
            if part != ALWAYS:
                kept[part] = None
    return next(iter(kept), ALWAYS) if len(kept) < 2 else Every(tuple(kept))


def either(*terms: Condition) -> Condition:
    """Any of these, simplified."""
    kept: dict[Condition, None] = {}
    for term in terms:
        for part in term.terms if isinstance(term, Either) else (term,):
            if part == ALWAYS:
                return ALWAYS
            if part != NEVER:
                kept[part] = None
    return next(iter(kept), NEVER) if len(kept) < 2 else Either(tuple(kept))


def opposite(term: Condition) -> Condition:
    """The reverse, simplified."""
    if isinstance(term, Constant):
        return Constant(value=not term.value)
    return term.term if isinstance(term, Opposite) else Opposite(term)


def leaves(term: Condition) -> Iterator[Condition]:
    """All terms that are not made of others. What is within an `Exists` is not among them: its places differ."""
    if isinstance(term, Every | Either):
        for each in term.terms:
            yield from leaves(each)
    elif isinstance(term, Opposite):
        yield from leaves(term.term)
    else:
        yield term


def is_static(term: Condition) -> bool:
    """The same for every user: it depends on rows and time alone."""
    return all(
        is_static(leaf.term) if isinstance(leaf, Exists) else isinstance(leaf, Constant | Comparison | MomentComparison)
        for leaf in leaves(term)
    )
