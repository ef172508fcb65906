"""Secrets with a mark, and looking for that mark wherever nothing secret may stand.

`sandbox()` gives its client such a secret, so every credential of a source in the run carries the mark. What commands
print, process lists, the logs of all processes and whatever Satchel keeps outside of its databases are searched.
"""

from __future__ import annotations

import gzip
import re
import secrets
from pathlib import Path

import zstandard

MARK = "planted-" + secrets.token_hex(8)
_TOKENS = re.compile(rb"sat[ds]_[\w-]{30,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}")
"""Tokens of devices, and signed ones."""
_OBJECTS = ("objects", "run")
"""What stands in a data folder besides databases and keys."""
_logs: set[Path] = set()
_folders: set[Path] = set()
_seen: list[str] = []


def new_secret() -> str:
    """A secret with the mark."""
    return f"{MARK}-{secrets.token_urlsafe(16)}"


def watch_log(path: Path) -> None:
    """Search this log at the end of the run."""
    _logs.add(path)


def watch_folder(path: Path) -> None:
    """Search this data folder at the end of the run."""
    _folders.add(path)


def check_output(text: str, where: str) -> None:
    """What a command prints."""
    if MARK in text:
        _seen.append(f"the output of {where}")


def check_processes() -> None:
    """The process list, as everyone on the machine sees it."""
    _seen.extend(processes_with_secrets())


def processes_with_secrets() -> list[str]:
    """Processes in whose arguments the mark stands."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue  # it has ended
        if MARK.encode() in line:
            found.append(f"the process list: {line.split(bytes(1))[:4]}")
    return found


def leaks() -> list[str]:
    """Where secrets were found."""
    objects = (each for folder in _folders for name in _OBJECTS for each in folder.glob(f"{name}/**/*"))
    paths = [*_logs, *(path for path in objects if path.is_file())]
    return _seen + [f"{path}: {line!r}" for path in paths for line in secrets_in(path)]


def secrets_in(path: Path) -> list[bytes]:
    """The first lines of a file, compressed or not, in which the mark or a token stands."""
    try:
        content = _content(path)
    except OSError:
        return []
    if MARK.encode() not in content and not _TOKENS.search(content):
        return []
    return [line[:300] for line in content.splitlines() if MARK.encode() in line or _TOKENS.search(line)][:5]


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        return gzip.decompress(content)
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        return zstandard.ZstdDecompressor().decompressobj().decompress(content)
    return content
