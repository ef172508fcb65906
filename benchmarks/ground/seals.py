"""Whether an organization's snapshots are sealed: what devices meet in a first sync on any day but the first."""

from __future__ import annotations

import time

import psycopg

from benchmarks.ground.organization import Organization
from satchel.assembly import control_url
from satchel.settings.load import load

LONGEST_SECONDS, LOOK_SECONDS = 300.0, 0.2
_LARGE = """
select m.bucket, count(*) from satchel.member m join satchel.family f on f.id = m.family
where m.is_live and f.state = 'ready' group by m.bucket having count(*) >= %s
"""
_FRESH = """
select 1 from satchel.snapshot s where retired_at is null and bucket = %s
and (select count(*) from satchel.member m where m.bucket = s.bucket and m.op > s.op) < %s
"""
_SOON = """
update satchel.recurring_work set next_at = now() where work_item = 'seal_snapshots'
and organization = (select id from satchel.organization where name = %s)
"""


def wait_until_sealed(organization: Organization) -> int:
    """Have the organization's large buckets sealed where that is due, and wait for it; returns how many they are."""
    settings = load(None, organization.running.environment, {})
    chosen = settings.snapshots
    large = organization.query(_LARGE, [chosen.min_rows])
    if large:
        with psycopg.connect(control_url(settings), autocommit=True) as connection:
            connection.execute(_SOON, [organization.name])
    give_up_at = time.monotonic() + LONGEST_SECONDS
    for bucket, rows in large:
        while not organization.query(_FRESH, [bucket, max(1, int(rows * chosen.tail_share))]):
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"A bucket of {rows:,} rows was not sealed.")
            time.sleep(LOOK_SECONDS)
    return len(large)
