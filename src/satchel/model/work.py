"""Work items: the messages in the queue."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class WorkName(StrEnum):
    """What is to be done. Each is run by the job of the same name."""

    PROVISION = "provision"
    DEPROVISION = "deprovision"
    MOVE = "move"
    NAME = "name"
    REFRESH_MODEL = "refresh_model"
    PULL = "pull"
    MOVE_WINDOWS = "move_windows"
    PLAYBACK = "playback"
    SEAL_SNAPSHOTS = "seal_snapshots"
    TIDY_TELEMETRY = "tidy_telemetry"


class WorkItem(msgspec.Struct, frozen=True):
    """One message."""

    name: WorkName
    organization: str
    entity: str = ""
    trace: str = ""
    """Where it was asked for (traceparent); it decides nothing."""
    number: int = 0
    """Its number in the queue; 0: it is not there yet."""

    @property
    def lock(self) -> str:
        """Work items with the same lock run one after another."""
        if self.name in {WorkName.PLAYBACK, WorkName.SEAL_SNAPSHOTS, WorkName.MOVE, WorkName.NAME}:
            return f"{self.organization}/{self.name}"  # they wait for nothing else
        return f"{self.organization}/{self.entity or 'organization'}"

    @property
    def queueing_lock(self) -> str:
        """At most one of these waits in the queue."""
        return f"{self.name}/{self.organization}/{self.entity}"
