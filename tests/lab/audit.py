"""By the source's own audit: nothing lost, nothing doubled; by the devices: no device outside its scope."""

from __future__ import annotations

import json
import subprocess
from collections import Counter, defaultdict
from typing import Any

from tests.lab.build import Lab
from tests.lab.host import ROOT, environment_of
from tests.support.processes import Sandbox

AGREE_SECONDS = 180.0


def executed(source: Sandbox) -> dict[str, list[dict[str, Any]]]:
    """Every write of contacts that the source has executed, by the edit set it came with."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    last = 0
    while page := source.get("/sandbox/audit", after=last):
        last = page[-1]["n"]
        for entry in page:
            if entry["entity"] == "contact" and entry["request"]:
                found[entry["request"]].append(entry)
    return found


def check_edits(source: Sandbox, stories: list[dict[str, Any]], users: dict[int, str]) -> Counter[str]:
    """What was accepted stands in the audit once, in its user's name and in order; what came home does not."""
    done, counts = executed(source), Counter[str]()
    order: dict[tuple[int, str], list[int]] = defaultdict(list)
    for story in stories:
        assert story["left"] == [], f"device {story['number']}: not settled: {story['left']}"
        for set_id, wishes in story["wishes"].items():
            entries = done.pop(set_id, [])
            if set_id in story["refused"]:
                counts["came home"] += 1
                assert not entries or set_id in story["uncertain"], f"{set_id} came home, and was executed: {entries}"
                continue
            counts["accepted"] += 1
            for wish in wishes:
                mine = [entry for entry in entries if entry["key"] == wish["key"]]
                if wish["action"] == "delete":
                    assert len(mine) <= 1, (wish, mine)  # somebody else may have deleted it first
                    continue
                values = [json.loads(entry["attributes"]).get(wish["attribute"]) for entry in mine]
                assert values.count(wish["value"]) == 1, f"{set_id} {wish}: executed {values}"
                assert {entry["user"] for entry in mine} == {users[story["number"]]}
                order[story["number"], wish["key"]].append(mine[0]["n"])
    for row, numbers in order.items():
        assert numbers == sorted(numbers), f"{row}: out of order {numbers}"
    assert not done, f"executed, but no device's wish: {list(done)[:5]}"
    return counts


def check_copies(lab: Lab, stories: list[dict[str, Any]], users: dict[int, str]) -> None:
    """Each device holds what the source says its user may see: not a row more, not a row less, value by value."""
    source = lab.source
    told = {
        "source": {
            "url": source.url,
            "token_url": source.token_url,
            "client_id": source.client_id,
            "client_secret": source.client_secret,
            "users": [],
        },
        "devices": [[story["folder"], users[story["number"]]] for story in stories],
        "seconds": AGREE_SECONDS,
    }
    done = subprocess.run(
        lab.hosts["client1"].python("tests.lab.agree"), input=json.dumps(told) + "\n", text=True, cwd=ROOT,
        capture_output=True, timeout=AGREE_SECONDS + 60, check=False, env=environment_of(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}
