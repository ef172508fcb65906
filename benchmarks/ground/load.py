"""Requests as fast as they are answered: wrk of Debian, 50 connections that stay open."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

CONNECTIONS, SECONDS = 50, 4
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_WRONG = re.compile(r"(Non-2xx|Socket errors).*")
_SCRIPT = """
local requests = {}
for line in io.lines("%s") do table.insert(requests, line) end
local at = 0
request = function()
  at = at %% #requests + 1
  local body, token = requests[at]:match("^(.-)\\t(.*)$")
  return wrk.format("%s", nil, {["Authorization"] = token, ["Content-Type"] = "application/json"}, body)
end
"""


class Request(msgspec.Struct, frozen=True):
    """One of the requests that are sent in turn."""

    body: str = ""
    authorization: str = ""


def requests_a_second(url: str, requests: Sequence[Request], folder: Path, method: str = "POST") -> float:
    """Answers a second. Errors: RuntimeError where one is no success."""
    lines, script = folder / "requests.txt", folder / "requests.lua"
    lines.write_text("".join(f"{one.body}\t{one.authorization}\n" for one in requests))
    script.write_text(_SCRIPT % (json.dumps(str(lines))[1:-1], method))
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    wrong = _WRONG.search(done.stdout)
    if wrong:
        raise RuntimeError(f"{url}: {wrong[0]}")
    return float(_RATE.findall(done.stdout)[0])
