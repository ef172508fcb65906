"""Object storage: snapshots, logs and traces, by obstore - a local folder unless a URL is configured."""

from satchel.storage.objects import ObjectInfo, Objects, delete_prefix
from satchel.storage.open import open_objects, open_storage

__all__ = ["ObjectInfo", "Objects", "delete_prefix", "open_objects", "open_storage"]
