"""The manifests, file by file: one object a document."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

import yaml

from satchel.deploy.hosts.settings import common_settings, merged, written
from satchel.deploy.kubernetes.policies import policies
from satchel.deploy.kubernetes.workloads import NAMESPACE, Manifest, labels, workload
from satchel.deploy.topology import SERVICES, Role, Topology


def manifests(topology: Topology) -> Iterator[tuple[str, str]]:
    """File name and text, numbered in the order in which they are applied."""
    roles = [role for role in SERVICES if topology.with_role(role)]
    yield "00-namespace.yaml", _text([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}])
    yield "10-settings.yaml", _text([_settings(topology)])
    yield "20-network.yaml", _text(policies(topology))
    for role in roles:
        yield f"30-{role}.yaml", _text([*workload(topology, role), *_spread(topology, role)])
    yield "40-sync-service.yaml", _text([_service(topology)])
    if topology.with_role(Role.CONSOLE):
        yield "41-console-service.yaml", _text([_console_service(topology)])


def _settings(topology: Topology) -> Manifest:
    """Listening addresses come from the pods themselves."""
    text = written(merged(common_settings(topology), topology.settings))
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "satchel-settings", "namespace": NAMESPACE},
        "data": {"satchel.toml": text},
    }


def _spread(topology: Topology, role: Role) -> Iterator[Manifest]:
    """At least one stays while nodes are drained."""
    if len(topology.with_role(role)) > 1:
        yield {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": f"satchel-{role}", "namespace": NAMESPACE},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels(role)}},
        }


def _service(topology: Topology) -> Manifest:
    """Layer 4, TLS passed through. `Local` keeps the devices' addresses: no PROXY protocol is needed here."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "satchel-sync", "namespace": NAMESPACE},
        "spec": {
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Local",
            "selector": labels(Role.SYNC),
            "ports": [{"name": "sync", "port": topology.ports.sync, "targetPort": "sync", "protocol": "TCP"}],
        },
    }


def _console_service(topology: Topology) -> Manifest:
    """Administrators only: the provider's load balancer refuses other addresses, and so does the NetworkPolicy."""
    block = str(ip_network(topology.administration.block))
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "satchel-console", "namespace": NAMESPACE},
        "spec": {
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Local",
            "loadBalancerSourceRanges": [block],
            "selector": labels(Role.CONSOLE),
            "ports": [{"name": "console", "port": topology.ports.console, "targetPort": "console", "protocol": "TCP"}],
        },
    }


def _text(documents: list[Manifest]) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False, explicit_start=True, width=1000)
