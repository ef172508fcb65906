"""All entities, by name and by set."""

from __future__ import annotations

from satchel.sandbox.schema.catalog import CURRENCY, PRICE_LEVEL, PRODUCT, PRODUCT_PRICE_LEVEL
from satchel.sandbox.schema.customers import ACCOUNT, CONTACT, INCIDENT, TASK
from satchel.sandbox.schema.directory import (
    BUSINESS_UNIT,
    PRIVILEGE,
    ROLE,
    ROLE_PRIVILEGES,
    SYSTEM_USER,
    SYSTEM_USER_ROLES,
    TEAM,
    TEAM_MEMBERSHIP,
    TEAM_ROLES,
)
from satchel.sandbox.schema.sharing import (
    FIELD_PERMISSION,
    FIELD_SECURITY_PROFILE,
    INCIDENT_CONTACT,
    PRINCIPAL_OBJECT_ACCESS,
    SYSTEM_USER_PROFILES,
    TEAM_PROFILES,
)

ENTITIES = (
    BUSINESS_UNIT, SYSTEM_USER, TEAM, TEAM_MEMBERSHIP, ROLE, PRIVILEGE, ROLE_PRIVILEGES, SYSTEM_USER_ROLES, TEAM_ROLES,
    CURRENCY, PRICE_LEVEL, PRODUCT, PRODUCT_PRICE_LEVEL, ACCOUNT, CONTACT, INCIDENT, TASK,
    PRINCIPAL_OBJECT_ACCESS, FIELD_SECURITY_PROFILE, FIELD_PERMISSION, SYSTEM_USER_PROFILES, TEAM_PROFILES,
    INCIDENT_CONTACT,
)  # fmt: skip
BY_NAME = {entity.name: entity for entity in ENTITIES}
BY_SET = {entity.set_name: entity for entity in ENTITIES}
