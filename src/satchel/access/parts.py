"""A condition on rows becomes a family: its buckets' keys, and what a user's values must be to them. Pure."""

from __future__ import annotations

import msgspec

from satchel.model.condition import (
    ALWAYS,
    NEVER,
    Assigned,
    Condition,
    Constant,
    Either,
    Every,
    Exists,
    Granted,
    Operator,
    Opposite,
    PartFlag,
    PartGranted,
    PartRelated,
    PartUser,
    Place,
    Step,
    UserComparison,
    either,
    every,
    is_static,
    leaves,
    opposite,
)
from satchel.model.scope import Binding, Family, Part, PartKind


class Ownership(msgspec.Struct, frozen=True):
    """By which parts of a row security decides; all None: it decides on the entity as a whole."""

    entity: str
    owner: Part | None = None
    unit: Part | None = None
    shares: Part | None = None


def bind(
    ownership: Ownership, condition: Condition, *, path: tuple[Step, ...] = (), sources: tuple[str, ...] = ()
) -> Binding | None:
    """The family and the user's condition for rows that meet `condition`; None where no row ever does.

    `path` and `sources`: only rows count that a path ties to a row in one of these families' buckets.
    """
    where = _weakest(condition, is_positive=True)
    if where == NEVER:
        return None
    keys = _Keys(ownership)
    terms = condition.terms if isinstance(condition, Every) else (condition,)
    # What every user's condition demands of a row alike is demanded once, by `where`.
    rest = keys.residual(every(*(term for term in terms if not is_static(term))))
    if sources:
        keys.parts.append(Part(PartKind.BUCKET, path=path))
        rest = every(rest, PartRelated())
    family = Family(ownership.entity, tuple(keys.parts), None if where == ALWAYS else where, sources)
    return Binding(family, rest)


class _Keys:
    """Collects the parts of a key."""

    def __init__(self, ownership: Ownership) -> None:
        self.parts: list[Part] = []
        self._ownership = ownership

    def residual(self, term: Condition) -> Condition:
        """What is left to decide by the key's parts and the user."""
        if isinstance(term, Constant):
            return term
        if is_static(term):
            return PartFlag(self._place(Part(PartKind.FLAG, term=term)))
        match term:
            case Every(terms) | Either(terms):
                join = every if isinstance(term, Every) else either
                static = [each for each in terms if is_static(each)]
                parts = [self.residual(each) for each in terms if not is_static(each)]
                return join(*parts, *([self.residual(join(*static))] if static else []))
            case Opposite(inner):
                return opposite(self.residual(inner))
            case UserComparison(place, operator, parameter, ignores_case):
                part = Part(PartKind.VALUE, place, ignores_case=ignores_case)
                return PartUser(self._place(part), operator, parameter)
            case Exists():
                return self._exists(term)
            case Granted():
                return self._granted()
            case Assigned():
                return term
        raise AssertionError(term)

    def _exists(self, term: Exists) -> Condition:
        own = next(leaf for leaf in leaves(term.term) if isinstance(leaf, UserComparison))
        rest = every(*(leaf for leaf in leaves(term.term) if leaf != own)) if term.term != own else ALWAYS
        part = Part(PartKind.VALUES, own.place, None if rest == ALWAYS else rest, term.path, own.ignores_case)
        return PartUser(self._place(part), Operator.IN, own.parameter)

    def _granted(self) -> Condition:
        own = self._ownership
        places = [None if part is None else self._place(part) for part in (own.owner, own.unit, own.shares)]
        return PartGranted(own.entity, *places)

    def _place(self, part: Part) -> int:
        if part not in self.parts:
            self.parts.append(part)
        return self.parts.index(part)


def value_part(attribute: str) -> Part:
    """The part that is an attribute of the row itself."""
    return Part(PartKind.VALUE, Place(attribute))


def _weakest(term: Condition, *, is_positive: bool) -> Condition:
    """What must hold for a row whoever the user is."""
    if is_static(term):
        return term
    match term:
        case Every(terms):
            return every(*(_weakest(each, is_positive=is_positive) for each in terms))
        case Either(terms):
            return either(*(_weakest(each, is_positive=is_positive) for each in terms))
        case Opposite(inner):
            return opposite(_weakest(inner, is_positive=not is_positive))
    return Constant(value=is_positive)
