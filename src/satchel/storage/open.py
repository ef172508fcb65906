"""The configured store: S3, Azure Blob, Google Cloud Storage, or a folder.

Credentials come from the settings, else from the environment as the providers name them (AWS_ACCESS_KEY_ID,
AZURE_STORAGE_ACCOUNT_KEY, GOOGLE_APPLICATION_CREDENTIALS, ...) or from the machine's own identity there.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.store import LocalStore, ObjectStore, from_url

from satchel.errors import DataFolderUnusable, SettingInvalid
from satchel.settings.schema import Settings, Storage
from satchel.storage.objects import Objects

CONNECT_SECONDS = 5.0
MAX_RETRIES = 4
_NAMES = {"s3": ("access_key_id", "secret_access_key"), "az": ("account_name", "account_key")}


def open_objects(settings: Settings) -> Objects:
    """The configured store, its failures told as ours. Errors: SettingInvalid, DataFolderUnusable."""
    return Objects(open_storage(settings), settings.storage.url or str(settings.objects_folder))


def open_storage(settings: Settings) -> ObjectStore:
    """The configured store itself; nothing is connected yet. Errors: SettingInvalid, DataFolderUnusable."""
    if settings.storage.url:
        return _by_url(settings.storage)
    try:
        settings.objects_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise DataFolderUnusable(f"{settings.objects_folder} cannot be made: {error.strerror}.") from error
    return LocalStore(settings.objects_folder, automatic_cleanup=True)  # no empty folders of what was deleted


def store_of(storage: Storage) -> ObjectStore:
    """The store at `storage.url`; nothing is connected yet. Errors: SettingInvalid."""
    return _by_url(storage)


def _by_url(storage: Storage) -> ObjectStore:
    scheme = urlsplit(storage.url).scheme
    try:
        if scheme == "file":
            return from_url(storage.url)
        seconds = storage.timeout_seconds
        return from_url(
            storage.url,
            config=_config(storage, scheme),
            client_options={
                "timeout": timedelta(seconds=seconds),
                "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, seconds)),
                "allow_http": storage.endpoint.startswith("http://"),
            },
            retry_config={"max_retries": MAX_RETRIES, "retry_timeout": timedelta(seconds=seconds)},
        )
    except (ValueError, TypeError, obstore.exceptions.BaseError) as error:
        reason = str(error).splitlines()[0]
        raise SettingInvalid(f"[storage] url is not usable: {reason}") from error


def _config(storage: Storage, scheme: str) -> Any:
    config: dict[str, Any] = {}
    if storage.endpoint:
        config["endpoint"] = storage.endpoint
    if storage.region:
        config["region"] = storage.region
    if storage.key_id or storage.key_secret:
        if scheme not in _NAMES:
            raise SettingInvalid("[storage] key_id and key_secret are for s3:// and az:// only.")
        name, secret = _NAMES[scheme]
        config |= {name: storage.key_id, secret: storage.key_secret}
    return config
