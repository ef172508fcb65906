"""Logs and traces also to a collector, by OTLP over HTTP, for those who have one. Source: OTLP Specification 1.5.

The endpoint is the setting's or OTEL_EXPORTER_OTLP_ENDPOINT; headers, certificates, compression and batch sizes are
what the standard OTEL_* variables say. A collector that does not answer costs records, and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Status, TraceFlags

from satchel.telemetry.redact import redact

CLOSE_SECONDS = 4.0
_SCOPE = InstrumentationScope("satchel")
_SEVERITIES = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "critical": SeverityNumber.FATAL,
}


class Exporter:
    """The way to one collector."""

    def __init__(self, endpoint: str) -> None:
        """`endpoint`: base address, or empty for what the environment says. Nothing is connected yet."""
        # Imported here: whoever has no collector does not pay for its libraries.
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        base = endpoint.rstrip("/")
        self._log_exporter = OTLPLogExporter(f"{base}/v1/logs" if base else None)
        self._spans = BatchSpanProcessor(OTLPSpanExporter(f"{base}/v1/traces" if base else None))
        self._logs = BatchLogRecordProcessor(self._log_exporter)
        self._logger: Any = None

    @classmethod
    def of(cls, endpoint: str, environ: Mapping[str, str]) -> Exporter | None:
        """The exporter for these settings, where there is a collector."""
        named = [f"OTEL_EXPORTER_OTLP_{part}ENDPOINT" for part in ("", "TRACES_", "LOGS_")]
        return cls(endpoint) if endpoint or any(environ.get(name) for name in named) else None

    def start(self, resource: Resource) -> None:
        """Begin; `resource` says which process this is."""
        from opentelemetry.sdk._logs import LoggerProvider

        provider = LoggerProvider(resource, shutdown_on_exit=False)
        provider.add_log_record_processor(self._logs)
        self._logger = provider.get_logger("satchel")

    def span(self, span: ReadableSpan) -> None:
        """Take a span; it goes out without secrets."""
        status = Status(span.status.status_code, redact(span.status.description))
        self._spans.on_end(
            ReadableSpan(
                name=span.name,
                context=span.context,
                parent=span.parent,
                resource=span.resource,
                attributes=redact(dict(span.attributes or {})),
                kind=span.kind,
                status=status,
                start_time=span.start_time,
                end_time=span.end_time,
                instrumentation_scope=_SCOPE,
            )
        )

    def log(self, event: dict[str, Any]) -> None:
        """Take a log event, as it was written."""
        if self._logger is None:
            return
        at = int(datetime.fromisoformat(str(event["timestamp"])).timestamp() * 1e9)
        level = str(event.get("level", "info"))
        plain = {k: v for k, v in event.items() if k not in {"event", "timestamp", "level", "trace", "span", "service"}}
        self._logger.emit(
            LogRecord(
                timestamp=at,
                observed_timestamp=at,
                trace_id=int(str(event.get("trace", "0")), 16),
                span_id=int(str(event.get("span", "0")), 16),
                trace_flags=TraceFlags(TraceFlags.SAMPLED),
                severity_text=level.upper(),
                severity_number=_SEVERITIES.get(level, SeverityNumber.INFO),
                body=str(event.get("event", "")),
                attributes={key: _plain(value) for key, value in plain.items()},
            )
        )

    def close(self) -> None:
        """Send what waits, for at most a few seconds."""
        ending = threading.Thread(target=self._shut_down, name="otlp", daemon=True)
        ending.start()
        ending.join(CLOSE_SECONDS)

    def _shut_down(self) -> None:
        self._spans.shutdown()  # type: ignore[no-untyped-call]
        self._logs.shutdown()  # type: ignore[no-untyped-call]


def _plain(value: object) -> str | int | float | bool:
    return value if isinstance(value, str | int | float | bool) else msgspec.json.encode(value, enc_hook=str).decode()
