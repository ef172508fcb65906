"""The text of a topology file -> a topology; what is unknown or impossible is named with what is right."""

from __future__ import annotations

import difflib
import tomllib
import typing
from collections.abc import Mapping

import msgspec

from satchel.deploy.topology import Topology
from satchel.errors import TopologyInvalid

_REFERENCE = "docs/reference/topology.md lists all keys."


def parse(text: str) -> Topology:
    """A topology whose values have the right types; `check` says whether it makes sense. Errors: TopologyInvalid."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TopologyInvalid(f"The topology is not valid TOML: {error}.") from error
    _refuse_unknown(tree, Topology, "")
    try:
        return msgspec.convert(tree, Topology)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        where = path.rstrip("`").lstrip(".") or "the file"
        raise TopologyInvalid(f"{where}: {problem[0].lower()}{problem[1:]}.", hint=_REFERENCE) from error


def _refuse_unknown(tree: object, shape: type[msgspec.Struct], path: str) -> None:
    if not isinstance(tree, dict):
        return
    fields = {field.name: field.type for field in msgspec.structs.fields(shape)}
    for key, value in tree.items():
        if key not in fields:
            raise TopologyInvalid(f"There is no {_at(path, key)} in a topology.", hint=_nearest(key, fields))
        for at, part, inner in _structs_below(_at(path, key), value, fields[key]):
            _refuse_unknown(part, inner, at)


def _structs_below(path: str, value: object, kind: object) -> list[tuple[str, object, type[msgspec.Struct]]]:
    """The tables in a value that have known keys."""
    if typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) is None and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [(path, value, kind)]
    inner = typing.get_args(kind)
    if inner and isinstance(inner[-1], type) and issubclass(inner[-1], msgspec.Struct):
        if isinstance(value, dict):
            return [(f"{path}.{name}", part, inner[-1]) for name, part in value.items()]
        if isinstance(value, list):
            return [(f"{path}[{number}]", part, inner[-1]) for number, part in enumerate(value)]
    return []


def _at(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _nearest(key: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.4)
    return f"Did you mean {near[0]!r}?" if near else f"Known here: {', '.join(known)}."
