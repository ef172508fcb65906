"""Logs, traces and metrics of all services."""
