"""Logs and traces of all services in object storage: from a device's request to the source's answer, and searched."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from satchel.device import Device, DeviceKey
from satchel.errors import EnrolmentRefused, ServerUnreachable
from tests.support.processes import Sandbox, Satchel, satchel, wait_for


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, source: Sandbox) -> Iterator[Satchel]:
    folder = tmp_path_factory.mktemp("traced") / "data"
    with satchel(folder, SATCHEL_TELEMETRY__FLUSH_SECONDS="0.3") as started:
        started.add(source)
        yield started


@pytest.fixture(scope="module")
def device(running: Satchel, source: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    link = running.invite(source.users[0]["id"])
    with Device.enroll(link, tmp_path_factory.mktemp("device"), key=DeviceKey.from_passphrase("x")) as enrolled:
        enrolled.sync()
        yield enrolled


def logs(running: Satchel, *options: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in running.run("logs", "--json", *options).splitlines()]


def spans(running: Satchel, trace: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = running.json("trace", trace)["spans"]
    return found


def test_an_edit_is_one_trace_from_the_device_to_the_source(running: Satchel, device: Device, source: Sandbox) -> None:
    key = device.create("task", {"subject": "traced"})
    device.sync()
    wait_for(lambda: source.rows("tasks", **{"$filter": f"activityid eq {key}"}), "the task to reach the source")
    (settled,) = wait_for(lambda: logs(running, "--work-item", "playback", "--text", "edit set settled"), "its log")

    def whole() -> list[dict[str, Any]] | None:
        found = spans(running, settled["trace"])
        return found if {"play edit set", "source request"} < {span["name"] for span in found} else None

    found = wait_for(whole, "the trace to be whole", seconds=30)

    by_id = {span["span"]: span for span in found}
    names = {span["name"] for span in found}
    assert "transaction" in names
    assert {span["service"] for span in found} == {"sync", "worker"}
    sent = next(s for s in found if s["name"] == "source request" and s["attributes"]["method"] != "GET")
    above = sent
    chain = []
    while above.get("parent") in by_id:
        above = by_id[above["parent"]]
        chain.append(above["name"])
    assert chain[-1] == "POST /v1/orgs/{organization}/edits"
    assert "play edit set" in chain
    assert above["attributes"]["device"] == device.status().device_id
    assert above["attributes"]["organization"] == "contoso"


def test_a_tree_shows_durations_and_logs(running: Satchel, device: Device) -> None:
    trace = wait_for(lambda: logs(running, "--text", "device enrolled"), "the log")[0]["trace"]
    wait_for(lambda: spans(running, trace), "the spans")

    shown = running.run("trace", trace)

    assert re.search(r"POST /v1/orgs/\{organization\}/enroll  [\d.]+ ms  sync", shown)
    assert "info: device enrolled" in shown


def test_the_request_of_a_devices_error_is_found(running: Satchel, source: Sandbox, tmp_path: Path) -> None:
    wrong = re.sub(r"code=[\w-]+", "code=AAAA-AAAA-AAAA-AAAA-AAAA", running.invite(source.users[0]["id"]))
    with pytest.raises(EnrolmentRefused) as caught:
        Device.enroll(wrong, tmp_path / "device", key=DeviceKey.from_passphrase("x"))

    (span,) = wait_for(lambda: spans(running, str(caught.value.facts["request"])), "the request's span")

    assert span["attributes"]["status"] == 403
    assert "organization" not in span["attributes"]  # nobody writes into a partition who was not let in


def test_polls_that_find_nothing_leave_no_span_and_idle_pulls_neither(running: Satchel, device: Device) -> None:
    wait_for(lambda: device.sync().was_current, "nothing new")
    for _ in range(5):
        device.sync()
    everything = [json.loads(line) for line in _kept(running, "traces")]

    assert not [s for s in everything if s.get("attributes", {}).get("status") == 204 and s["name"].endswith("/sync")]
    pulls = [s for s in everything if s["name"] == "pull"]
    assert pulls
    assert not [s for s in pulls if s["attributes"]["outcome"] == "idle"]


def test_each_organization_and_hour_stands_by_itself(running: Satchel) -> None:
    folder = running.folder / "objects" / "telemetry"
    names = [str(path.relative_to(folder)) for path in folder.rglob("*.zst")]

    assert names
    for name in names:
        assert re.fullmatch(
            r"(logs|traces)/(contoso|_system)/\d{4}/\d\d/\d\d/\d\d/[a-z]+-[\w-]+-\d{8}\.ndjson\.zst", name
        )
    assert {name.split("/")[1] for name in names} == {"contoso", "_system"}


def test_nothing_secret_is_kept(running: Satchel, source: Sandbox) -> None:
    kept = b"\n".join([*_kept(running, "logs"), *_kept(running, "traces")]).decode()

    assert "contoso" in kept
    for secret in (source.client_secret, source.token(), "satd_"):
        assert secret not in kept


def test_logs_are_followed(running: Satchel, source: Sandbox) -> None:
    command = [sys.executable, "-m", "satchel", "logs", "--follow", "--json", "--text", "pulled", "--since", "1s"]
    environment = {**os.environ, **running.environment}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as following:
        try:
            assert following.stdout is not None
            lines: list[str] = []
            reader = threading.Thread(target=lambda out: lines.append(out.readline()), args=(following.stdout,))
            reader.start()
            seeds = iter(range(5, 1000))

            def is_told() -> bool:  # it may begin to follow behind the first changes
                source.mutate(5, seed=next(seeds))
                reader.join(1.0)
                return bool(lines)

            wait_for(is_told, "a line")
            assert json.loads(lines[0])["event"] == "pulled"
        finally:
            following.terminate()


def test_what_waits_is_written_when_the_services_end(running: Satchel, device: Device) -> None:
    """The last of this module: it ends the services."""
    running.stop()

    with pytest.raises(ServerUnreachable) as caught:
        device.sync()

    assert str(caught.value.facts["request"]) in (device.status().last_error or "")
    assert [line for line in _kept(running, "logs") if b"service ends" in line and b'"sync"' in line]


def _kept(running: Satchel, kind: str) -> list[bytes]:
    folder = running.folder / "objects" / "telemetry" / kind
    lines: list[bytes] = []
    for path in folder.rglob("*.zst"):
        lines += zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()).splitlines()
    return lines
