"""Logs and traces at a collector: an OTLP/HTTP server that decodes with OpenTelemetry's own messages."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

PROGRAM = """
import sys, structlog
from satchel.settings.load import load
from satchel.telemetry.start import telemetry
from satchel.telemetry.trace import span
import os
with telemetry(load(None, os.environ, {}), "worker"):
    with span("pull", organization="contoso", entity="contact", token="planted-secret"):
        with span("source request", host="crm.example", note="Bearer planted-secret"):
            pass
        structlog.get_logger().warning("work item failed", organization="contoso", password="planted-secret", rows=3)
"""


class Collector:
    """What came in."""

    def __init__(self) -> None:
        self.spans: list[tuple[Any, Any]] = []
        self.logs: list[tuple[Any, Any]] = []
        self.raw = b""

    def take(self, path: str, body: bytes) -> bytes:
        self.raw += body
        if path == "/v1/traces":
            traces = ExportTraceServiceRequest.FromString(body)
            self.spans += [(r.resource, s) for r in traces.resource_spans for c in r.scope_spans for s in c.spans]
            return bytes(ExportTraceServiceResponse().SerializeToString())
        assert path == "/v1/logs"
        logs = ExportLogsServiceRequest.FromString(body)
        self.logs += [(r.resource, each) for r in logs.resource_logs for c in r.scope_logs for each in c.log_records]
        return bytes(ExportLogsServiceResponse().SerializeToString())


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            answer = found.take(self.path, body)
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def run(folder: Path, **environment: str) -> str:
    given = {"SATCHEL_DATA__FOLDER": str(folder), "SATCHEL_LOG__FORMAT": "json", **environment}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **given}, capture_output=True, text=True, check=True,
        timeout=60,
    )  # fmt: skip
    return done.stderr


def attributes(message: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in message.attributes}


@pytest.mark.parametrize("name", ["SATCHEL_TELEMETRY__OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"])
def test_a_collector_gets_spans_and_logs_without_secrets(
    collector: tuple[Collector, str], tmp_path: Path, name: str
) -> None:
    found, url = collector

    run(tmp_path, **{name: url, "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"})

    spans = {span.name: (resource, span) for resource, span in found.spans}
    resource, pull = spans["pull"]
    assert attributes(resource)["service.name"] == "worker"
    assert attributes(resource)["service.instance.id"]
    assert attributes(pull)["entity"] == "contact"
    assert spans["source request"][1].parent_span_id == pull.span_id
    (log,) = [log for _, log in found.logs if log.body.string_value == "work item failed"]
    assert (log.severity_text, log.trace_id, log.span_id) == ("WARNING", pull.trace_id, pull.span_id)
    assert attributes(log)["rows"] == 3
    assert abs(log.time_unix_nano / 1e9 - time.time()) < 60
    assert b"planted-secret" not in found.raw


def test_a_collector_that_is_away_costs_nothing_but_its_records(tmp_path: Path) -> None:
    began = time.monotonic()

    shown = run(tmp_path, SATCHEL_TELEMETRY__OTLP_ENDPOINT="http://127.0.0.1:9")

    assert time.monotonic() - began < 30
    assert "work item failed" in shown
    assert "planted-secret" not in shown
    assert list((tmp_path / "objects" / "telemetry" / "traces" / "contoso").rglob("*.zst"))


def test_without_a_collector_its_libraries_are_not_loaded(tmp_path: Path) -> None:
    program = PROGRAM + "\nassert 'opentelemetry.exporter.otlp.proto.http' not in sys.modules\n"
    given = {"SATCHEL_DATA__FOLDER": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **given}, check=True, timeout=60, capture_output=True
    )
