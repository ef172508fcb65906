"""All metrics, in one table; docs/reference/metrics.md is made from it. A process shows those that it has."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Any
from wsgiref.simple_server import WSGIServer

import msgspec
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    start_http_server,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from satchel.errors import PortInUse

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 300.0)


class Shape(StrEnum):
    """What a metric is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Entry(msgspec.Struct, frozen=True):
    """A row of the table."""

    name: str
    """With its unit."""
    shape: Shape
    labels: tuple[str, ...]
    help: str
    service: str
    """Which process has it."""


_C, _G, _H = Shape.COUNTER, Shape.GAUGE, Shape.HISTOGRAM
TABLE = (
    Entry("satchel_requests_total", _C, ("endpoint", "route", "status"), "Requests answered.", "sync"),
    Entry("satchel_request_seconds", _H, ("endpoint", "route"), "From the first byte of a request to the last of its "
          "answer; without polls that found nothing.", "sync"),
    Entry("satchel_polls_total", _C, (), "Syncs that were answered with: nothing new (204).", "sync"),
    Entry("satchel_sync_rows_total", _C, (), "Rows sent to devices.", "sync"),
    Entry("satchel_sync_bytes_total", _C, (), "Bytes of sync answers, as compressed.", "sync"),
    Entry("satchel_open_requests", _G, (), "Requests under way, devices that wait for a change among them.", "sync"),
    Entry("satchel_is_draining", _G, (), "1 while the server only finishes what is under way.", "sync"),
    Entry("satchel_work_items_total", _C, ("work_item", "outcome"), "Work items run: done, idle, failed.", "both"),
    Entry("satchel_work_item_seconds", _H, ("work_item",), "How long they took.", "both"),
    Entry("satchel_source_requests_total", _C, ("status",), "Requests to sources, by status; 0: no answer.", "worker"),
    Entry("satchel_source_request_seconds", _H, (), "How long sources took to answer.", "worker"),
    Entry("satchel_pulled_rows_total", _C, ("organization",), "Rows that sources sent.", "worker"),
    Entry("satchel_queue_items", _G, ("state",), "Work items in the queue that are due (waiting), or being done.",
          "provisioning"),
    Entry("satchel_queue_age_seconds", _G, (), "How long the oldest due work item has been waiting.", "provisioning"),
    Entry("satchel_pull_lag_seconds", _G, ("organization", "entity"), "Since an entity was last read to its end.",
          "provisioning"),
    Entry("satchel_delta_link_age_seconds", _G, ("organization", "entity"), "Age of an entity's delta link.",
          "provisioning"),
    Entry("satchel_playback_backlog", _G, ("organization", "state"), "Edit sets that are not settled.", "provisioning"),
    Entry("satchel_playback_age_seconds", _G, ("organization",), "How long the oldest unplayed edit set waits.",
          "provisioning"),
    Entry("satchel_unusable_rows", _G, ("organization",), "Rows that could not be staged.", "provisioning"),
    Entry("satchel_snapshots", _G, ("organization", "state"), "Sealed images of buckets: current, or retired "
          "and kept for downloads under way.", "provisioning"),
    Entry("satchel_findings", _G, ("check", "level", "organization"), "What `satchel doctor` would find.",
          "provisioning"),
    Entry("satchel_looked_at_seconds", _G, (), "When the values above were taken (Unix time).", "provisioning"),
    Entry("satchel_database_connections", _G, ("pool", "state"), "Connections to databases: open, idle.", "all"),
    Entry("satchel_database_waiting", _G, ("pool",), "Requests for a connection that wait for one.", "all"),
    Entry("satchel_telemetry_records_total", _C, ("outcome",), "Logs and spans: kept, dropped.", "all"),
    Entry("satchel_disk_free_bytes", _G, (), "Free space where the data folder is.", "all"),
)  # fmt: skip

disable_created_metrics()  # type: ignore[no-untyped-call]
registry = CollectorRegistry(auto_describe=False)
_ENTRIES = {entry.name: entry for entry in TABLE}
_made: dict[str, Any] = {}
_lock = threading.Lock()


def _metric(name: str) -> Any:
    """The metric of that name; made at first use, so that a process shows only its own."""
    found = _made.get(name)
    if found is not None:
        return found
    entry = _ENTRIES[name]
    with _lock:
        if name not in _made:
            if entry.shape is _C:
                _made[name] = Counter(name, entry.help, entry.labels, registry=registry)
            elif entry.shape is _G:
                _made[name] = Gauge(name, entry.help, entry.labels, registry=registry)
            else:
                _made[name] = Histogram(name, entry.help, entry.labels, registry=registry, buckets=_SECONDS)
    return _made[name]


def count(name: str, amount: float = 1, **labels: str) -> None:
    """Add to a counter."""
    metric = _metric(name)
    (metric.labels(**labels) if labels else metric).inc(amount)


def observe(name: str, seconds: float, **labels: str) -> None:
    """Add to a histogram."""
    metric = _metric(name)
    (metric.labels(**labels) if labels else metric).observe(seconds)


def set_gauge(name: str, value: float, **labels: str) -> None:
    """Set a gauge."""
    metric = _metric(name)
    (metric.labels(**labels) if labels else metric).set(value)


def handle(name: str, **labels: str) -> Any:
    """A counter or gauge with its labels, for hot paths."""
    metric = _metric(name)
    return metric.labels(**labels) if labels else metric


def replace_gauge(name: str, values: Iterable[tuple[tuple[str, ...], float]]) -> None:
    """Set a gauge for these values of its labels, and for no others."""
    metric = _metric(name)
    metric.clear()
    for labels, value in values:
        metric.labels(*labels).set(value)


class Read(Collector):
    """Gauges and counters whose values are read when somebody looks."""

    def __init__(self, name: str, read: Callable[[], Iterable[tuple[tuple[str, ...], float]]]) -> None:
        """`read` gives values by labels; it is called from any thread."""
        self._entry = _ENTRIES[name]
        self._read = read
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """The values now."""
        kind = self._entry.shape.value
        family = GaugeMetricFamily(self._entry.name, self._entry.help, labels=self._entry.labels)
        family.type = kind
        for labels, value in self._read():
            family.add_metric(labels, value)
        yield family


def page() -> bytes:
    """All values as text. Source: Prometheus text exposition format 0.0.4."""
    return generate_latest(registry)


def listen(host: str, port: int) -> WSGIServer | None:
    """Serve the page without credentials on an address of its own; 0: not at all. Errors: PortInUse."""
    if not port:
        return None
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise PortInUse(f"Metrics cannot be served on port {port} of {host}: {error.strerror}.") from error
    return server


def reference_page() -> str:
    """docs/reference/metrics.md."""
    lines = [_HEAD]
    for entry in TABLE:
        labels = ", ".join(f"`{label}`" for label in entry.labels)
        lines.append(f"| `{entry.name}` | {entry.shape} | {labels} | {entry.help} | {entry.service} |")
    return "\n".join([*lines, ""])


_HEAD = """# Metrics

In the format of Prometheus: at `/metrics` of the management endpoint (service credentials), and, without credentials
over plain HTTP, at the address of `[metrics]` where a port is set there: keep that one in a network of your own. The
device's endpoint has none. Each process shows the metrics it has values for (both: worker and provisioning). Units
stand in the names.

| metric | kind | labels | meaning | process |
|---|---|---|---|---|"""


if __name__ == "__main__":
    print(reference_page(), end="")
