"""Why a user is bound to a bucket, or is not: the condition, leaf by leaf, with what the user has. Pure."""

from __future__ import annotations

from collections.abc import Container, Sequence

import msgspec

from satchel.model.condition import (
    Assigned,
    Comparison,
    Condition,
    Constant,
    Either,
    Every,
    Exists,
    MomentComparison,
    Operator,
    Opposite,
    PartFlag,
    PartGranted,
    PartRelated,
    PartUser,
    Place,
    Step,
)
from satchel.model.scope import Family, Part, PartKind
from satchel.model.user import Grants, User

SEPARATOR = "\x1f"


class Decision(msgspec.Struct, frozen=True):
    """Whether a condition holds, in words, with those it is made of."""

    holds: bool
    text: str
    because: tuple[Decision, ...] = ()


def decide(
    term: Condition, family: Family, key: Sequence[str | None], user: User, bound: Container[str] = ()
) -> Decision:
    """The decision for a bucket with this key; `bound`: ids of the buckets the user is bound to, as text."""
    match term:
        case Constant(value):
            return Decision(value, "always" if value else "never")
        case Every(terms):
            parts = tuple(decide(each, family, key, user, bound) for each in terms)
            return Decision(all(part.holds for part in parts), "all of", parts)
        case Either(terms):
            parts = tuple(decide(each, family, key, user, bound) for each in terms)
            return Decision(any(part.holds for part in parts), "one of", parts)
        case Opposite(inner):
            part = decide(inner, family, key, user, bound)
            return Decision(not part.holds, "not", (part,))
        case Assigned(profile):
            return Decision(profile in user.profiles, f"the user takes part in the profile {profile!r}")
        case PartFlag(part):
            condition = family.parts[part].term
            return Decision(key[part] == "t", in_words(condition) if condition is not None else "")
        case PartRelated():
            path = in_path(family.parts[-1].path)
            return Decision(key[-1] in bound, f"the related row ({path}) is one that the user takes offline")
        case PartUser(part, operator, parameter):
            values = user.values(parameter)
            holds = _meets(family.parts[part], key[part], values)
            words = f"{_part_in_words(family.parts[part])} {operator} {_parameter_in_words(parameter)}"
            return Decision(holds is not (operator is Operator.NE), f"{words} ({_shown(key[part])})")
        case PartGranted():
            return _granted(term, family, key, user)
    raise AssertionError(term)


def holds(term: Condition, family: Family, key: Sequence[str | None], user: User, bound: Container[str] = ()) -> bool:
    """The same in one word, at a fraction of the cost."""
    match term:
        case Constant(value):
            return value
        case Every(terms):
            return all(holds(each, family, key, user, bound) for each in terms)
        case Either(terms):
            return any(holds(each, family, key, user, bound) for each in terms)
        case Opposite(inner):
            return not holds(inner, family, key, user, bound)
        case Assigned(profile):
            return profile in user.profiles
        case PartFlag(part):
            return key[part] == "t"
        case PartRelated():
            return key[-1] in bound
        case PartUser(part, operator, parameter):
            return _meets(family.parts[part], key[part], user.values(parameter)) is not (operator is Operator.NE)
        case PartGranted(entity, owner, unit, shares):
            grants = user.grants.get(entity, Grants(everything=True))
            reached = ((owner, grants.owners), (unit, grants.units), (shares, grants.shared_to))
            return grants.everything or any(
                part is not None and _meets(family.parts[part], key[part], values) for part, values in reached
            )
    raise AssertionError(term)


def in_words(term: Condition) -> str:
    """A static condition as a person would write it."""
    match term:
        case Constant(value):
            return "always" if value else "never"
        case Every(terms):
            return "(" + " and ".join(in_words(each) for each in terms) + ")"
        case Either(terms):
            return "(" + " or ".join(in_words(each) for each in terms) + ")"
        case Opposite(inner):
            return f"not {in_words(inner)}"
        case Exists(path, inner):
            return f"{in_path(path)} has a row with {in_words(inner)}"
        case Comparison(place, operator, values):
            return f"{_place_in_words(place)} {operator} {', '.join(values)}".rstrip()
        case MomentComparison(place, operator, offset):
            sign = "+" if offset >= 0 else "-"
            return f"{_place_in_words(place)} {operator} now {sign} {abs(offset) / 86400:g} days"
    raise AssertionError(term)


def in_path(path: Sequence[Step]) -> str:
    """A path as profiles write it."""
    return "/".join(f"{step.entity}.{step.attribute}" if step.is_backward else step.attribute for step in path)


def _granted(term: PartGranted, family: Family, key: Sequence[str | None], user: User) -> Decision:
    grants = user.grants.get(term.entity, Grants(everything=True))
    if grants.everything:
        return Decision(holds=True, text=f"the user's roles let them read every {term.entity}")
    reached = (("owner", term.owner, grants.owners), ("business unit", term.unit, grants.units),
               ("shared with", term.shares, grants.shared_to))  # fmt: skip
    for name, part, values in reached:
        if part is not None and _meets(family.parts[part], key[part], values):
            return Decision(holds=True, text=f"the user's roles let them read it: {name} {_shown(key[part])}")
    if not (grants.owners or grants.units or grants.shared_to):
        return Decision(holds=False, text=f"no role of the user lets them read {term.entity}")
    places = [f"{name} {_shown(key[part])}" for name, part, _ in reached if part is not None and key[part]]
    return Decision(holds=False, text=f"the user's roles do not reach it: {', '.join(places) or 'no owner'}")


def _meets(part: Part, value: str | None, wanted: Sequence[str]) -> bool:
    if value is None:
        return False
    found = value.split(SEPARATOR) if part.kind is PartKind.VALUES else [value]
    wanted = [each.lower() for each in wanted] if part.ignores_case else wanted
    return not set(found).isdisjoint(wanted)


def _part_in_words(part: Part) -> str:
    assert part.place is not None  # noqa: S101 - parts of users' comparisons have one
    place = _place_in_words(part.place)
    return f"{in_path(part.path)}/{place}" if part.path else place


def _place_in_words(place: Place) -> str:
    return "/".join([*([in_path(place.path)] if place.path else []), place.attribute])


def _parameter_in_words(parameter: str) -> str:
    return "@me" if parameter == "id" else "@my." + parameter.removeprefix("user.")


def _shown(value: str | None) -> str:
    return "nothing" if value is None else value.replace(SEPARATOR, ", ")
