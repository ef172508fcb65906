"""What a service's process does with its logs and traces: stderr, object storage, a collector where there is one."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from opentelemetry.sdk.resources import Resource

from satchel.errors import ConfigError
from satchel.settings.schema import Settings
from satchel.storage import open_objects
from satchel.telemetry import log, metrics
from satchel.telemetry.archive import Archive, encoded
from satchel.telemetry.export import Exporter
from satchel.telemetry.partition import Kind, instance_name
from satchel.telemetry.redact import keep_secret
from satchel.telemetry.trace import Sink, Tail, record_of, start_tracing

_running: list[Telemetry] = []


class Telemetry(msgspec.Struct, frozen=True):
    """What runs in this process."""

    service: str
    instance: str
    archive: Archive | None
    tail: Tail
    resource: Resource


def running() -> Telemetry:
    """What runs in this process."""
    return _running[-1]


@contextmanager
def telemetry(settings: Settings, service: str) -> Iterator[Telemetry]:
    """Logs and traces of a service, as long as the block runs; then what waits is written, for a few seconds.

    Errors: SettingInvalid where object storage cannot be that.
    """
    keep_secret(settings.secrets.key, settings.storage.key_secret)
    log.configure(settings.log.level, settings.log.format, service)
    instance = instance_name()
    archive = _archive(settings, service, instance)
    exporter = Exporter.of(settings.telemetry.otlp_endpoint, os.environ)
    sinks: list[Sink] = [exporter.span] if exporter else []
    if archive is not None:
        sinks.append(lambda span: archive.add(*_span_entry(span)))
    tail, resource = start_tracing(service, instance, sinks)
    takers = [exporter.log] if exporter else []
    if archive is not None:
        takers.append(lambda event: archive.add(*_log_entry(event, instance)))
        archive.start()
    if exporter:
        exporter.start(resource)
    handlers = [log.TakingHandler(take, service) for take in takers]
    for handler in handlers:
        logging.getLogger().addHandler(handler)
    _running.append(Telemetry(service, instance, archive, tail, resource))
    if archive is not None:
        kept = archive
        metrics.Read("satchel_telemetry_records_total",
                     lambda: [(("kept",), kept.kept), (("dropped",), kept.dropped)])  # fmt: skip
    structlog.get_logger().info("service starts", instance=instance)
    try:
        yield _running[-1]
    except (Exception, SystemExit) as error:
        if not isinstance(error, SystemExit | ConfigError):
            structlog.get_logger().error("service failed", exc_info=error)
        raise
    finally:
        structlog.get_logger().info("service ends")
        for handler in handlers:
            logging.getLogger().removeHandler(handler)
        if archive is not None:
            archive.close()
        if exporter:
            exporter.close()


def _archive(settings: Settings, service: str, instance: str) -> Archive | None:
    if not settings.telemetry.keep:
        return None
    objects = open_objects(settings)
    return Archive(objects.put_now, service, instance, flush_seconds=settings.telemetry.flush_seconds)


def _span_entry(span: Any) -> tuple[Kind, object, float, Any]:
    organization = (span.attributes or {}).get("organization")
    return Kind.TRACES, organization, (span.start_time or 0) / 1e9, lambda: encoded(record_of(span))


def _log_entry(event: dict[str, Any], instance: str) -> tuple[Kind, object, float, Any]:
    at = datetime.now(UTC).timestamp()
    return Kind.LOGS, event.get("organization"), at, lambda: encoded({**event, "instance": instance})
