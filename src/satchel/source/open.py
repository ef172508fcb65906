"""From a connection to its source: the one place that picks an implementation."""

from __future__ import annotations

from satchel.model.changes import Source
from satchel.source.connection import Connection
from satchel.source.dataverse import DataverseSource
from satchel.source.odata import ODataSource
from satchel.source.throttle import Pace


def open_source(connection: Connection, pace: Pace | None = None) -> Source:
    """The source of a connection; nothing is sent yet. Errors: SourceMisconfigured."""
    if connection.kind == "dataverse":
        return DataverseSource(connection, pace)
    return ODataSource(connection, pace)
