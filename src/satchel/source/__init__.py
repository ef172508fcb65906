"""The client of OData v4: Dataverse and any other service. Nothing is stored here.

The only room that speaks OData. A row's way begins here: a page of the source, its rows left as the bytes they are.
"""

from satchel.source.connection import Connection
from satchel.source.open import open_source
from satchel.source.throttle import Pace

__all__ = ["Connection", "Pace", "open_source"]
