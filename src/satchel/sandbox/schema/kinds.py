"""What an attribute or an entity of the sample organization is."""

from __future__ import annotations

from enum import Enum
from functools import cached_property

import msgspec

Options = tuple[tuple[int, str], ...]

_NAMESPACE = "Microsoft.Dynamics.CRM."


class Kind(Enum):
    """A kind of attribute: (name in `AttributeType`, name in `AttributeTypeName`, type in `$metadata`)."""

    GUID = ("Uniqueidentifier", "UniqueidentifierType", "Edm.Guid")
    STRING = ("String", "StringType", "Edm.String")
    MEMO = ("Memo", "MemoType", "Edm.String")
    INTEGER = ("Integer", "IntegerType", "Edm.Int32")
    BIGINT = ("BigInt", "BigIntType", "Edm.Int64")
    DECIMAL = ("Decimal", "DecimalType", "Edm.Decimal")
    DOUBLE = ("Double", "DoubleType", "Edm.Double")
    MONEY = ("Money", "MoneyType", "Edm.Decimal")
    BOOLEAN = ("Boolean", "BooleanType", "Edm.Boolean")
    DATETIME = ("DateTime", "DateTimeType", "Edm.DateTimeOffset")
    DATE = ("DateTime", "DateTimeType", "Edm.Date")
    PICKLIST = ("Picklist", "PicklistType", "Edm.Int32")
    MULTISELECT = ("Virtual", "MultiSelectPicklistType", "Edm.String")
    STATE = ("State", "StateType", "Edm.Int32")
    STATUS = ("Status", "StatusType", "Edm.Int32")
    LOOKUP = ("Lookup", "LookupType", "Edm.Guid")
    CUSTOMER = ("Customer", "CustomerType", "Edm.Guid")
    OWNER = ("Owner", "OwnerType", "Edm.Guid")

    @property
    def type_name(self) -> str:
        """The name in `AttributeType`."""
        return self.value[0]

    @property
    def type_name_value(self) -> str:
        """The name in `AttributeTypeName`."""
        return self.value[1]

    @property
    def edm(self) -> str:
        """The type in `$metadata`."""
        return self.value[2]

    @property
    def cast(self) -> str:
        """The type that `EntityDefinitions` casts to."""
        name = self.value[1].removesuffix("Type")
        if self is Kind.GUID:
            name = "UniqueIdentifier"
        if self in LOOKUPS:
            name = "Lookup"
        return f"{_NAMESPACE}{name}AttributeMetadata"


LOOKUPS = frozenset({Kind.LOOKUP, Kind.CUSTOMER, Kind.OWNER})
CHOICES = frozenset({Kind.PICKLIST, Kind.STATE, Kind.STATUS})
TEXTS = frozenset({Kind.STRING, Kind.MEMO, Kind.MULTISELECT})


class Column(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """An attribute. `name` is its logical name and its column in SQL."""

    name: str
    kind: Kind
    label: str
    max_length: int = 100
    format: str = "Text"
    precision: int = 2
    minimum: float = 0
    maximum: float = 2147483647
    options: Options = ()
    targets: tuple[str, ...] = ()
    navigations: tuple[str, ...] = ()
    """One for each target, or a single one whose type is the targets' common base."""
    is_required: bool = False
    is_writable: bool = True
    is_secured: bool = False

    @cached_property
    def wire(self) -> str:
        """The property's name in JSON."""
        return f"_{self.name}_value" if self.kind in LOOKUPS else self.name

    @property
    def is_lookup(self) -> bool:
        """Whether it points to a row."""
        return self.kind in LOOKUPS

    @property
    def is_polymorphic(self) -> bool:
        """Whether it may point to rows of several entities."""
        return len(self.targets) > 1

    @property
    def type_column(self) -> str:
        """The SQL column that holds which entity a polymorphic lookup points to."""
        return f"{self.name}_type"

    def label_of(self, value: object) -> str | None:
        """The label of a choice."""
        return dict(self.options).get(value) if isinstance(value, int) else None


class Entity(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """An entity: its names and its attributes, the key first."""

    name: str
    set_name: str
    schema_name: str
    label: str
    plural: str
    columns: tuple[Column, ...]
    name_column: str | None
    ownership: str
    """As in `OwnershipType`."""
    type_code: int
    tracks_changes: bool = True
    is_read_only: bool = False
    alternate_keys: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The attribute that identifies a row."""
        return self.columns[0].name

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """Attributes by logical name."""
        return {column.name: column for column in self.columns}

    @cached_property
    def by_wire(self) -> dict[str, Column]:
        """Attributes by the name they have in JSON."""
        return {column.wire: column for column in self.columns}

    @cached_property
    def by_navigation(self) -> dict[str, tuple[Column, tuple[str, ...]]]:
        """Lookups and where they lead, by navigation property."""
        found: dict[str, tuple[Column, tuple[str, ...]]] = {}
        for column in self.columns:
            if len(column.navigations) == len(column.targets):
                pairs = zip(column.navigations, column.targets, strict=True)
                found |= {navigation: (column, (target,)) for navigation, target in pairs}
            else:
                found |= dict.fromkeys(column.navigations, (column, column.targets))
        return found

    @cached_property
    def sql_columns(self) -> tuple[str, ...]:
        """All SQL columns in the order of the table."""
        names: list[str] = []
        for column in self.columns:
            names.append(column.name)
            if column.is_polymorphic:
                names.append(column.type_column)
        return tuple(names)

    @property
    def is_user_owned(self) -> bool:
        """Whether each row has an owner."""
        return self.ownership == "UserOwned"

    @property
    def type(self) -> str:
        """The qualified name in `$metadata`."""
        return _NAMESPACE + self.name
