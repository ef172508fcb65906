"""Deployments: what runs in a pod, how it shows that it lives, and how it goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from satchel.deploy.hosts.settings import kept_names
from satchel.deploy.topology import Role, Topology

NAMESPACE = "satchel"
Manifest = dict[str, Any]
_STOP_SECONDS = 40
_USER = 10001


def labels(role: Role) -> dict[str, str]:
    """What selects the pods of a role."""
    return {"app.kubernetes.io/name": "satchel", "app.kubernetes.io/component": str(role)}


def workload(topology: Topology, role: Role) -> Iterator[Manifest]:
    """As many pods as the topology has hosts of the role, replaced one by one."""
    pod = {
        "serviceAccountName": "default",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": _STOP_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": labels(role)},
            }
        ],
        "containers": [_container(topology, role)],
        "volumes": _volumes(role),
    }
    # All are replaced at the same time: whoever comes first brings the databases to its version, the others wait.
    pod["initContainers"] = [_container(topology, Role.WORKER, command="migrate")]
    yield {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"satchel-{role}", "namespace": NAMESPACE, "labels": labels(role)},
        "spec": {
            "replicas": len(topology.with_role(role)),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": labels(role)},
            "template": {"metadata": {"labels": labels(role)}, "spec": pod},
        },
    }


def _container(topology: Topology, role: Role, command: str = "") -> Manifest:
    container: Manifest = {
        "name": command or str(role),
        "image": topology.installation.image,
        "args": ["run", *([command, "--pre"] if command else [str(role)]), "--config", "/etc/satchel/satchel.toml"],
        "env": [
            {"name": "SATCHEL_DATA__FOLDER", "value": "/var/lib/satchel"},
            {"name": "SATCHEL_SECRETS__KEY_FILE", "value": "/run/secrets/satchel/master.key"},
            {"name": "PGPASSFILE", "value": "/run/secrets/satchel/pgpass"},
        ],
        "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "settings", "mountPath": "/etc/satchel", "readOnly": True},
            {"name": "secrets", "mountPath": "/run/secrets/satchel", "readOnly": True},
            {"name": "state", "mountPath": "/var/lib/satchel"},
            {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
        ],
    }
    if topology.monitoring.block:
        address = {"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
        port = str(topology.metrics_ports()[role])
        container["env"] += [
            {"name": "SATCHEL_METRICS__HOST", **address},
            {"name": f"SATCHEL_METRICS__{role.upper()}_PORT", "value": port},
        ]
    if role is Role.SYNC:
        _serve(topology, container)
    if role is Role.CONSOLE:
        _serve_console(topology, container)
    if role is Role.PROVISIONING:
        container["env"] += [
            {"name": f"SATCHEL_DNS__{name.upper()}", "value": str(value)}
            for name, value in kept_names(topology).items()
        ]
        container["env"].append({"name": "SATCHEL_DNS__KEY_SECRET_FILE", "value": "/run/secrets/satchel/tsig.secret"})
    return container


def _serve(topology: Topology, container: Manifest) -> None:
    ports = topology.ports
    container["ports"] = [
        {"name": "sync", "containerPort": ports.sync_server},
        {"name": "management", "containerPort": ports.management},
    ]
    container["env"] += [
        # The pod's own address: it is what the sync server is registered under for announcements.
        {"name": "SATCHEL_MANAGEMENT__HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "SATCHEL_MANAGEMENT__PORT", "value": str(ports.management)},
        {"name": "SATCHEL_SYNC__HOST", "value": "0.0.0.0"},  # noqa: S104 - inside its pod
        {"name": "SATCHEL_SYNC__PORT", "value": str(ports.sync_server)},
    ]
    _over_tls(container, "sync")


def _serve_console(topology: Topology, container: Manifest) -> None:
    ports, identity = topology.ports, topology.identity
    container["ports"] = [{"name": "console", "containerPort": ports.console}]
    url = f"https://console.{topology.installation.domain}:{ports.console}"
    container["env"] += [
        {"name": "SATCHEL_CONSOLE__HOST", "value": "0.0.0.0"},  # noqa: S104 - inside its pod
        {"name": "SATCHEL_CONSOLE__PORT", "value": str(ports.console)},
        {"name": "SATCHEL_CONSOLE__PUBLIC_URL", "value": url},
    ]
    if identity.console_client_id:
        secret = "/run/secrets/satchel/console.secret"  # noqa: S105 - where it stands
        container["env"] += [
            {"name": "SATCHEL_CONSOLE__CLIENT_ID", "value": identity.console_client_id},
            {"name": "SATCHEL_CONSOLE__CLIENT_SECRET_FILE", "value": secret},
        ]
    _over_tls(container, "console")


def _over_tls(container: Manifest, port: str) -> None:
    """Its certificate, and probes that ask for its health."""
    container["env"] += [
        {"name": "SATCHEL_SYNC__TLS_CERTIFICATE_FILE", "value": "/run/secrets/satchel-tls/tls.crt"},
        {"name": "SATCHEL_SYNC__TLS_KEY_FILE", "value": "/run/secrets/satchel-tls/tls.key"},
    ]
    container["volumeMounts"].append({"name": "tls", "mountPath": "/run/secrets/satchel-tls", "readOnly": True})
    container |= {
        "startupProbe": _probe("live", port, period=1, failures=60),
        "livenessProbe": _probe("live", port, period=10, failures=6),
        "readinessProbe": _probe("ready", port, period=2, failures=2),
    }


def _probe(which: str, port: str, *, period: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": f"/health/{which}", "port": port, "scheme": "HTTPS"},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def _volumes(role: Role) -> list[Manifest]:
    volumes: list[Manifest] = [
        {"name": "settings", "configMap": {"name": "satchel-settings"}},
        {"name": "secrets", "secret": {"secretName": "satchel-secrets", "defaultMode": 0o400}},
        {"name": "state", "emptyDir": {}},
        {"name": "temporary", "emptyDir": {}},
    ]
    if role in {Role.SYNC, Role.CONSOLE}:
        volumes.append({"name": "tls", "secret": {"secretName": "satchel-tls", "defaultMode": 0o400}})
    return volumes
