"""The rows of the table: what each figure is called, its goal, and what PowerSync came to elsewhere.

PowerSync's figures were measured on another 2-core Linux machine with 100,000 contacts of nearly this shape, server
and client on loopback (service 1.25 on PostgreSQL storage, Node SDK). Its licence keeps it from being run here.
"""

from __future__ import annotations

from benchmarks.ground.figures import Subject

POWERSYNC = "PowerSync 1.25, measured elsewhere"


def _powersync(text: str) -> dict[str, str]:
    return {POWERSYNC: text}


FIRST_SYNC = Subject(
    "first sync over TLS into SQLite with 3 indexes", "rows/s", ">=", 108_800, _powersync("10,000-13,600"),
    "goal: 8 times PowerSync's best; 8 times its slowest is 80,000",
)  # fmt: skip
FIRST_SYNC_RATIO = Subject("first sync / executemany from memory in the same run", "ratio", ">=", 1.0)
ENCRYPTED = Subject("first sync with encryption / without, in the same run", "ratio", ">=", 0.9)
FIRST_SYNC_ENCRYPTED = Subject("first sync with encryption", "rows/s")
FIRST_SYNC_CPU = Subject(
    "sync server's processor time for a first sync of 100,000 rows", "ms", "<=", 60, _powersync("6,000")
)
FIRST_SYNC_DATABASE_CPU = Subject("database's processor time for the same", "ms")
WIRE_BYTES = Subject("bytes on the wire", "B/row", "<=", 78, _powersync("92 (zstd), 101 (gzip)"))
DEVICE_BYTES = Subject("bytes on the device", "B/row", "<=", 500, _powersync("1,350, 1,900 with its log"))
SERVER_BYTES = Subject("bytes on the server, snapshots included", "B/row", "<=", 700, _powersync("1,529"))
RAW_FILE = Subject("plain files: read what goes over the wire, write what the device keeps", "rows/s")
COPY_OUT = Subject("PostgreSQL: COPY of ready-made JSON out", "rows/s")

INGEST = Subject(
    "source -> staging, scopes derived, source in another process", "rows/s", ">=", 25_000, _powersync("6,600")
)
INGEST_WHOLE = Subject("the same with the comparison of all keys behind it", "rows/s")
SOURCE_READ = Subject("plain read of the source", "rows/s")

VISIBLE_MEDIAN = Subject(
    "commit in staging -> visible on a connected device, median", "ms", "<=", 20, _powersync("64-69")
)
VISIBLE_P95 = Subject(
    "commit in staging -> visible on a connected device, 95th percentile", "ms", "<=", 50, _powersync("74-84")
)
CONCERNED = Subject(
    "one change, 190 idle devices, all concerned: sync server's processor time", "ms", "<=", 30, _powersync("282")
)
NOT_CONCERNED = Subject(
    "one change, 190 idle devices, none concerned: sync server's processor time", "ms", "<=", 2, _powersync("108")
)
CONCERNED_ALL = Subject("one change, 190 idle devices: until the last has it, median", "ms")
POLLS = Subject("polls with nothing new, 50 TLS connections, one process", "polls/s", ">=", 5_000)
MEMORY = Subject(
    "sync server's memory, 100,000 rows and 2,000 connected devices", "MB", "<=", 200, _powersync("398, peak 540")
)

MILLION = Subject("first sync of 1,000,000 rows", "s", "<=", 12)
MILLION_DEVICE = Subject("device's memory meanwhile, peak", "MB", "<=", 256)
MILLION_SERVER = Subject("sync server's memory meanwhile, growth", "MB", "<=", 50)
MILLION_INGEST = Subject("source -> staging, 1,000,000 rows", "rows/s")
MILLION_WORKER = Subject("worker's memory meanwhile, peak", "MB")

BUCKETS = Subject("buckets a user may hold", "buckets", ">=", 10_000, _powersync("1,000, then error 500"))
REVOKED = Subject(
    "rows out of scope left on the device while an unrelated edit is pending", "rows", "=", 0,
    _powersync("all, until its upload queue drains"),
)  # fmt: skip
DEAD_OPS = Subject(
    "rows a new device reads for nothing after 3 updates of 10 %", "%", "=", 0, _powersync("30, after compaction too")
)
ORGANIZATIONS = Subject("sync server's memory with 200 organizations, a device each", "MB")
