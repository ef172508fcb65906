"""Kubernetes manifests of the services, from the same topology; databases, DNS and identity stay where it says."""

from satchel.deploy.kubernetes.manifests import manifests

__all__ = ["manifests"]
