"""The reference page of the topology: `python -m satchel.deploy.reference > docs/reference/topology.md`."""

from __future__ import annotations

import typing

import msgspec
from msgspec import Meta

from satchel.deploy.topology import (
    Administration,
    Allowed,
    Balancer,
    Databases,
    Dns,
    Host,
    Identity,
    Installation,
    Monitoring,
    Objects,
    Part,
    Ports,
    Role,
    Source,
)

_TABLES: dict[str, type[Part]] = {
    "[installation]": Installation,
    "[hosts.<name>]": Host,
    "[ports]": Ports,
    "[balancer]": Balancer,
    "[databases]": Databases,
    "[dns]": Dns,
    "[identity]": Identity,
    "[objects]": Objects,
    "[administration]": Administration,
    "[monitoring]": Monitoring,
    "[sources.<name>]": Source,
    "[[allow]]": Allowed,
}
_HEAD = f"""# Topology

One TOML file says which hosts there are and what runs on them; `satchel deploy check` names all that is wrong with it,
`satchel deploy render` makes the files of every host from it. [examples/topology.toml](../../examples/topology.toml)
is a whole one. How to go on: [deploy from a topology](../how-to/deploy-from-a-topology.md).

Roles: {", ".join(f"`{role}`" for role in Role)}. A host may have several,
as long as they do not listen on the same port.

## [subnets]

`name = "block"`, as many as there are; they lie in `installation.network` and do not overlap.

## [settings.<section>]

Settings of Satchel that all its processes get besides what follows from the topology, as in
[settings](settings.md). Secrets do not belong here.
"""
_FLOWS = """## Who may talk to whom

Everything is dropped, in both directions, but what this list allows and what answers it. Services: `sync`, `worker`,
`provisioning`, `console`.

| from | to | port | for |
|---|---|---|---|
| anywhere | `balancer` | `sync` | devices |
| anywhere | `identity` | `identity` | sign-in |
| anywhere | `dns` | `dns` | names |
| every host | `dns` | `dns` | names; `provisioning` keeps the records |
| `dns` | `dns.forwarders`, else outside | 53 | other names |
| `balancer` | `sync` | `sync_server` | syncs, health checks |
| services | `database` | `database` | control and staging databases |
| `worker`, `provisioning` | `sync` | `management` | announcements |
| `worker`, `provisioning`, `console` | each source's addresses, else outside | the source's | pulls, playback, checks |
| services | `objects`, else outside where a URL is given | `objects` | snapshots, logs, traces |
| services | `identity`, else outside where there is an issuer | `identity` | the issuer's keys |
| `administration.block` | every host | `administration.ssh_port` | administrators |
| `administration.block` | `console` | `console` | administrators' browsers |
| `monitoring.block` | services | `*_metrics` | metrics |
| `[[allow]]` | | | what you add |
"""


def reference_page() -> str:
    """The whole page, Markdown."""
    return "\n".join([_HEAD, *(_table(name, part) for name, part in _TABLES.items()), _FLOWS])


def _table(name: str, part: type[Part]) -> str:
    hints = typing.get_type_hints(part, include_extras=True)
    lines = [f"## {name}", "", (part.__doc__ or ""), "", "| key | default | meaning |", "|---|---|---|"]
    for field in msgspec.structs.fields(part):
        notes = [note for note in typing.get_args(hints[field.name])[1:] if isinstance(note, Meta)]
        described = [note.description for note in notes if note.description]
        lines.append(f"| `{field.name}` | {_default(field)} | {described[-1] if described else ''} |")
    return "\n".join([*lines, ""])


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "(needed)"
    value = field.default if field.default is not msgspec.NODEFAULT else []
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value not in ("", []) else "(empty)"


if __name__ == "__main__":
    print(reference_page(), end="")
