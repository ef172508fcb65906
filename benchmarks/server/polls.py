"""Polls with nothing new, one after the other on 50 TLS connections; the bare server beside it in turn."""

from __future__ import annotations

import json

from benchmarks import subjects
from benchmarks.ground.devices import standing_as
from benchmarks.ground.figures import Book
from benchmarks.ground.load import CONNECTIONS, Request, requests_a_second
from benchmarks.ground.organization import Contacts, Inside, Organization
from benchmarks.ground.processes import program, python

BARE = "the same HTTP server over TLS that only answers 204"


def measure(book: Book, scene: Contacts, organization: Organization, rounds: int) -> None:
    """Polls a second."""
    running = scene.running
    with Inside(running) as inside:
        members = standing_as(inside, organization, scene.folder / "polling", CONNECTIONS)
    requests = [
        Request(json.dumps({"cursor": one.cursor, "model": one.model}), f"Bearer {one.token}") for one in members
    ]
    url = f"https://127.0.0.1:{running.sync_port}/v1/orgs/{organization.name}/sync"
    tls = running.folder / "tls"
    certificate, key = tls / "server.pem", tls / "server.key"
    rates, bare = [], []
    with program(python("benchmarks.server.bare", certificate, key), scene.folder / "bare.log") as started:
        bare_url = f"https://127.0.0.1:{started.answer()['port']}/"
        for _ in range(rounds):
            rates.append(requests_a_second(url, requests, scene.folder))
            bare.append(requests_a_second(bare_url, requests, scene.folder))
    book.note(subjects.POLLS, rates, "wrk on the same two cores")
    book.limit(subjects.POLLS, bare, BARE)
