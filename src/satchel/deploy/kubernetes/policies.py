"""NetworkPolicies: nothing is allowed, then what the flows of each role allow."""

from __future__ import annotations

from collections.abc import Iterable

from satchel.deploy.flows import ANYWHERE, OUTSIDE, Flow, flows_of
from satchel.deploy.kubernetes.workloads import NAMESPACE, Manifest, labels
from satchel.deploy.topology import SERVICES, Role, Topology


def policies(topology: Topology) -> list[Manifest]:
    """One that denies all, one that lets names be asked for, one for each role."""
    roles = [role for role in SERVICES if topology.with_role(role)]
    return [
        _policy("deny-all", {}, {"policyTypes": ["Ingress", "Egress"]}),
        _policy("cluster-names", {}, {"policyTypes": ["Egress"], "egress": [_cluster_names()]}),
        *(_of_role(topology, role) for role in roles),
    ]


def _of_role(topology: Topology, role: Role) -> Manifest:
    hosts = set(topology.with_role(role))
    flows = [flow for flow in flows_of(topology) if flow.port != topology.administration.ssh_port]
    ingress = _rules(topology, "from", [(flow.origin, flow) for flow in flows if flow.target in hosts])
    egress = _rules(topology, "to", [(flow.target, flow) for flow in flows if flow.origin in hosts])
    rules = {"policyTypes": ["Ingress", "Egress"], "ingress": ingress, "egress": egress}
    return _policy(f"satchel-{role}", {"matchLabels": labels(role)}, rules)


def _rules(topology: Topology, side: str, flows: Iterable[tuple[str, Flow]]) -> list[Manifest]:
    """One rule a peer and port; hosts of one role are one peer here."""
    found: list[Manifest] = []
    for name, flow in flows:
        for peer in _peers(topology, name):
            rule: Manifest = {side: peer} if peer else {}
            rule["ports"] = [{"protocol": flow.protocol.upper(), "port": flow.port}]
            if rule not in found:
                found.append(rule)
    return found


def _peers(topology: Topology, name: str) -> list[list[Manifest]]:
    """What a host, block or direction is in a cluster; an empty peer: anybody."""
    network = topology.installation.network
    if name == ANYWHERE:
        return [[]]
    if name == OUTSIDE:
        everything = "::/0" if ":" in network else "0.0.0.0/0"
        return [[{"ipBlock": {"cidr": everything, "except": [network]}}]]
    if name not in topology.hosts:
        return [[{"ipBlock": {"cidr": name if "/" in name else _single(name)}}]]
    host = topology.hosts[name]
    services = [role for role in SERVICES if role in host.roles]
    if services:
        return [[{"podSelector": {"matchLabels": labels(role)}}] for role in services]
    if Role.BALANCER in host.roles:  # the cluster's own load balancer stands in for it, and keeps devices' addresses
        return [[]]
    return [[{"ipBlock": {"cidr": _single(host.address)}}]]


def _single(address: str) -> str:
    return f"{address}/{128 if ':' in address else 32}"


def _cluster_names() -> Manifest:
    selectors = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    return {"to": [selectors], "ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}


def _policy(name: str, selector: Manifest, rules: Manifest) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"podSelector": selector, **rules},
    }
