"""Short ways to declare attributes, and those that many entities share."""

from __future__ import annotations

from satchel.sandbox.schema.kinds import Column, Kind, Options

MAX_MONEY = 100_000_000_000
STATES: Options = ((0, "Active"), (1, "Inactive"))
STATUSES: Options = ((1, "Active"), (2, "Inactive"))


def key(name: str, label: str) -> Column:
    """The key."""
    return Column(name=name, kind=Kind.GUID, label=label, is_required=True)


def guid(name: str, label: str) -> Column:
    """A plain identifier."""
    return Column(name=name, kind=Kind.GUID, label=label)


def text(name: str, label: str, length: int = 100, *, format: str = "Text", required: bool = False) -> Column:  # noqa: A002
    """A line of text."""
    return Column(name=name, kind=Kind.STRING, label=label, max_length=length, format=format, is_required=required)


def memo(name: str, label: str, length: int = 2000) -> Column:
    """Lines of text."""
    return Column(name=name, kind=Kind.MEMO, label=label, max_length=length, format="TextArea")


def integer(name: str, label: str, low: int = 0, high: int = 2147483647) -> Column:
    """A whole number."""
    return Column(name=name, kind=Kind.INTEGER, label=label, minimum=low, maximum=high, format="None")


def money(name: str, label: str, *, low: int = 0, secured: bool = False) -> Column:
    """An amount with two digits after the point, kept as hundredths."""
    return Column(
        name=name, kind=Kind.MONEY, label=label, minimum=low, maximum=MAX_MONEY, precision=2, is_secured=secured
    )


def decimal(name: str, label: str, precision: int, high: int) -> Column:
    """A number with so many digits after the point, kept as text."""
    return Column(name=name, kind=Kind.DECIMAL, label=label, minimum=0, maximum=high, precision=precision)


def double(name: str, label: str, low: float, high: float, precision: int = 5) -> Column:
    """A floating point number."""
    return Column(name=name, kind=Kind.DOUBLE, label=label, minimum=low, maximum=high, precision=precision)


def boolean(name: str, label: str, no: str = "No", yes: str = "Yes") -> Column:
    """Yes or no."""
    return Column(name=name, kind=Kind.BOOLEAN, label=label, options=((0, no), (1, yes)))


def moment(name: str, label: str, *, writable: bool = True) -> Column:
    """A time in UTC."""
    return Column(name=name, kind=Kind.DATETIME, label=label, format="DateAndTime", is_writable=writable)


def date(name: str, label: str) -> Column:
    """A day without time and zone."""
    return Column(name=name, kind=Kind.DATE, label=label, format="DateOnly")


def choice(name: str, label: str, *labels: str, first: int = 1, options: Options = ()) -> Column:
    """One of several."""
    return Column(name=name, kind=Kind.PICKLIST, label=label, options=options or tuple(enumerate(labels, first)))


def choices(name: str, label: str, *labels: str) -> Column:
    """Any number of several."""
    return Column(name=name, kind=Kind.MULTISELECT, label=label, options=tuple(enumerate(labels, 1)), max_length=4000)


def lookup(name: str, label: str, target: str, *, navigation: str = "", writable: bool = True) -> Column:
    """A row of one entity."""
    return Column(
        name=name,
        kind=Kind.LOOKUP,
        label=label,
        targets=(target,),
        navigations=(navigation or name,),
        is_writable=writable,
    )


def polymorphic(name: str, label: str, *targets: str, kind: Kind = Kind.LOOKUP, suffix: str = "") -> Column:
    """A row of one of several entities."""
    navigations = tuple(f"{name}_{target}{suffix}" for target in targets)
    return Column(name=name, kind=kind, label=label, targets=targets, navigations=navigations)


def states(state: Options = STATES, status: Options = STATUSES) -> tuple[Column, ...]:
    """The state of a row and its reason."""
    return (
        Column(name="statecode", kind=Kind.STATE, label="Status", options=state, is_required=True),
        Column(name="statuscode", kind=Kind.STATUS, label="Status Reason", options=status),
    )


def version() -> Column:
    """The version, behind the ETag."""
    return Column(name="versionnumber", kind=Kind.BIGINT, label="Version Number", is_writable=False)


def trail() -> tuple[Column, ...]:
    """Who made and changed a row, when, and its version."""
    return (
        moment("createdon", "Created On", writable=False),
        moment("modifiedon", "Modified On", writable=False),
        lookup("createdby", "Created By", "systemuser", writable=False),
        lookup("modifiedby", "Modified By", "systemuser", writable=False),
        lookup("createdonbehalfby", "Created By (Delegate)", "systemuser", writable=False),
        lookup("modifiedonbehalfby", "Modified By (Delegate)", "systemuser", writable=False),
        version(),
    )


def ownership() -> tuple[Column, ...]:
    """Whom a row belongs to; all but the owner follow from it."""
    owner = Column(
        name="ownerid",
        kind=Kind.OWNER,
        label="Owner",
        targets=("systemuser", "team"),
        navigations=("ownerid",),
        is_required=True,
    )
    return (
        owner,
        lookup("owninguser", "Owning User", "systemuser", writable=False),
        lookup("owningteam", "Owning Team", "team", writable=False),
        lookup("owningbusinessunit", "Owning Business Unit", "businessunit", writable=False),
    )
