"""`satchel deploy`: a topology becomes firewalls, load balancer, units, settings and manifests."""

from __future__ import annotations

import socket
from pathlib import Path

import click

from satchel.cli.output import console, print_json
from satchel.deploy.check import differences_of, problems_of
from satchel.deploy.flows import flows_of
from satchel.deploy.parse import parse
from satchel.deploy.render import render
from satchel.deploy.topology import Topology
from satchel.errors import InputInvalid, TopologyInvalid

EPILOG = """\b
  satchel deploy check examples/topology.toml
  satchel deploy render examples/topology.toml --out rendered
docs/how-to/deploy-from-a-topology.md goes on from there.
"""
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Deployment from one topology file: hosts, subnets, who runs what."""


@command.command("render")
@click.argument("topology", type=_FILE)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the files.")
def render_files(topology: Path, out: Path) -> None:
    """Write the files of every host, and the Kubernetes manifests. What an earlier rendering left over goes."""
    found = _read(topology)
    files = _checked(found, topology.name)
    stale = _rendered_before(out) - set(files)
    for path, text in files.items():
        file = out / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists() or file.read_text("utf-8") != text:
            file.write_text(text, "utf-8")
    for path in sorted(stale):
        (out / path).unlink()
    (out / _LIST).write_text("\n".join([*files, ""]), "utf-8")
    console.print(f"{len(files)} files for {len(found.hosts)} hosts in {out}.")


@command.command()
@click.argument("topology", type=_FILE)
@click.option("--resolve", is_flag=True, help="Also look up the names of what is outside.")
@click.option("--json", "as_json", is_flag=True, help="Print the flows as JSON, for programs.")
def check(topology: Path, resolve: bool, as_json: bool) -> None:
    """Say all that is wrong with a topology; exit status 2 where anything is."""
    found = _read(topology)
    files = _checked(found, topology.name)
    flows = flows_of(found)
    if resolve:
        _require_names(found)
    if as_json:
        print_json(flows)
    else:
        console.print(f"{len(found.hosts)} hosts, {len(flows)} flows, {len(files)} files: nothing is wrong.")


_LIST = ".rendered"
"""Names what was rendered, so that the next rendering takes away only what is its own."""


def _rendered_before(out: Path) -> set[str]:
    try:
        names = set((out / _LIST).read_text("utf-8").split())
    except OSError:
        if out.exists() and any(out.iterdir()):
            raise InputInvalid(f"{out} has other files in it.", hint="Give an empty or a new folder.") from None
        return set()
    return {name for name in names if (out / name).is_file() and ".." not in Path(name).parts}


def _read(file: Path) -> Topology:
    try:
        return parse(file.read_text("utf-8"))
    except UnicodeDecodeError as error:
        raise TopologyInvalid(f"{file} is not UTF-8 text.") from error


def _checked(topology: Topology, origin: str) -> dict[str, str]:
    problems = problems_of(topology)
    files = {} if problems else render(topology, origin)
    problems = problems or differences_of(topology, files)
    if problems:
        raise TopologyInvalid("\n".join(problems), hint="Change the topology; docs/reference/topology.md has the keys.")
    return files


def _require_names(topology: Topology) -> None:
    missing = []
    for name in sorted({source.name for source in topology.sources.values()}):
        try:
            socket.getaddrinfo(name, None)
        except OSError:
            missing.append(f"{name} has no address here.")
    if missing:
        raise TopologyInvalid("\n".join(missing), hint="Check the name, and this machine's resolver.")
