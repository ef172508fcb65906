"""Logs and traces beyond their time are deleted, day by day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from satchel.storage import Objects
from satchel.telemetry.partition import ROOT, Kind


async def tidy_telemetry(objects: Objects, now: datetime, retention_days: float) -> int:
    """Delete whole days that ended longer ago than that; returns how many objects went. Again is harmless.

    Cost: one list for each organization, year and month that has something.
    """
    last = (now.astimezone(UTC) - timedelta(days=retention_days + 1)).date()
    count = 0
    for kind in Kind:
        for folder in await objects.folders(f"{ROOT}/{kind.value}"):
            for day in await _days(objects, f"{ROOT}/{kind.value}/{folder}"):
                if day <= last:
                    count += await objects.delete_prefix(f"{ROOT}/{kind.value}/{folder}/{day:%Y/%m/%d}")
    return count


async def _days(objects: Objects, prefix: str) -> list[date]:
    days = []
    for year in await objects.folders(prefix):
        for month in await objects.folders(f"{prefix}/{year}"):
            for day in await objects.folders(f"{prefix}/{year}/{month}"):
                try:
                    days.append(date(int(year), int(month), int(day)))
                except ValueError:  # not ours
                    continue
    return days
