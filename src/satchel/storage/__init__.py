"""Object storage: snapshots, logs and traces, by obstore - a local folder unless a URL is configured."""

from __future__ import annotations

import obstore
from obstore.store import LocalStore, ObjectStore, from_url

from satchel.errors import DataFolderUnusable, SettingInvalid
from satchel.settings.schema import Settings


def open_storage(settings: Settings) -> ObjectStore:
    """The configured store. Errors: SettingInvalid, DataFolderUnusable."""
    if settings.storage.url:
        try:
            return from_url(settings.storage.url)
        except (ValueError, obstore.exceptions.BaseError) as error:
            raise SettingInvalid(f"[storage] url is not usable: {error}") from error
    try:
        settings.objects_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise DataFolderUnusable(f"{settings.objects_folder} cannot be made: {error.strerror}.") from error
    return LocalStore(settings.objects_folder)


async def delete_prefix(store: ObjectStore, prefix: str) -> int:
    """Delete all objects whose path begins with `prefix`; returns how many."""
    count = 0
    async for chunk in obstore.list(store, prefix):
        paths = [str(meta["path"]) for meta in chunk]
        await obstore.delete_async(store, paths)
        count += len(paths)
    return count
