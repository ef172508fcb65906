"""Keys, certificates, sealed secrets and tokens."""
