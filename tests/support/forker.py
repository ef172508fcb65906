"""Runs `satchel ...` again and again without importing it each time: `python -m tests.support.forker` imports it once,
has no threads, and forks for each command. (Who forks a process of tests copies the locks of its threads, closed.)"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import traceback
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Forker:
    """The process that forks. One command at a time."""

    def __init__(self) -> None:
        """It is ready with the first command."""
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        atexit.register(self._child.kill)

    def run(self, arguments: list[str], environment: dict[str, str], folder: Path, output: Path, given: Path) -> int:
        """The command's exit status; what it prints goes to `output`, what it reads comes from `given`."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        order = [arguments, environment, str(folder), str(output), str(given)]
        self._child.stdin.write(json.dumps(order) + "\n")
        self._child.stdin.flush()
        return int(self._child.stdout.readline())


@cache
def forker() -> Forker:
    """The one of this process."""
    return Forker()


def _serve() -> None:
    from satchel.cli.main import main

    for line in sys.stdin:
        arguments, environment, folder, output, given = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(given, os.O_RDONLY), 0)
            os.dup2(os.open(output, os.O_WRONLY), 1)
            os.dup2(1, 2)
            sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - until the end
            os.environ.clear()
            os.environ.update(environment)
            os.chdir(folder)
            status = 70
            try:
                main(arguments)
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 1
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        _, ended = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(ended), flush=True)


if __name__ == "__main__":
    _serve()
