"""Logs (later traces and metrics) of all services."""
