"""The device: an organization's data in a local, encrypted SQLite database, usable without a network.

```python
from satchel.device import Device

with Device.open() as device:
    device.sync()
    for contact in device.table("contact").where("lastname", "=", "Kim").order_by("fullname").all():
        print(contact["fullname"])
    with device.edit() as changes:  # all of it or nothing, with or without a network
        account = changes.create("account", name="Contoso")
        changes.create("contact", lastname="Kim", parentcustomerid=("account", account))
    device.sync()
```
"""

from satchel.device.client import Device
from satchel.device.download import SyncProgress, SyncReport
from satchel.device.edits.editing import Changes
from satchel.device.edits.outbox import PendingSet, SetState
from satchel.device.edits.upload import UploadProgress
from satchel.device.edits.verdicts import Choice
from satchel.device.key import DeviceKey
from satchel.device.lease import Clock
from satchel.device.queries import Table
from satchel.device.sign_in import CodePrompt, ask_by_browser, ask_by_code, by_browser, by_code

__all__ = [
    "Changes",
    "Choice",
    "Clock",
    "CodePrompt",
    "Device",
    "DeviceKey",
    "PendingSet",
    "SetState",
    "SyncProgress",
    "SyncReport",
    "Table",
    "UploadProgress",
    "ask_by_browser",
    "ask_by_code",
    "by_browser",
    "by_code",
]
