"""Where logs and traces stand in object storage: by kind, organization and hour, so that a search reads few objects.

`telemetry/<logs|traces>/<organization or _system>/YYYY/MM/DD/HH/<service>-<instance>-<seq>.ndjson.zst`
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum

ROOT = "telemetry"
SYSTEM = "_system"
"""What belongs to no organization."""
_ORGANIZATION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_HOUR = timedelta(hours=1)


class Kind(StrEnum):
    """What is kept."""

    LOGS = "logs"
    TRACES = "traces"


def folder_of(organization: object) -> str:
    """An organization's folder; what cannot be a name stands with the system: it may come from a request's path."""
    return organization if isinstance(organization, str) and _ORGANIZATION.fullmatch(organization) else SYSTEM


def partition(kind: Kind, folder: str, hour: datetime) -> str:
    """The prefix of one organization's hour."""
    return f"{ROOT}/{kind.value}/{folder}/{hour:%Y/%m/%d/%H}"


def hours(since: datetime, until: datetime) -> Iterator[datetime]:
    """The hours that a time range touches, in order."""
    hour = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while hour <= until:
        yield hour
        hour += _HOUR


def instance_name() -> str:
    """A name for this process that no other one has: host, process id, and something random."""
    host = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().lower()).strip("-")[:40] or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(2)}"


def object_name(service: str, instance: str, number: int) -> str:
    """The name of a process's n-th object; names of one process sort in the order they were written."""
    return f"{service}-{instance}-{number:08}.ndjson.zst"


def writer_of(path: str) -> str:
    """The process that wrote an object: its name without the number."""
    return path.rsplit("/", 1)[-1].rsplit("-", 1)[0]
