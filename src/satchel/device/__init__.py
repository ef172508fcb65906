"""The device: an organization's data in a local, encrypted SQLite database, usable without a network.

```python
from satchel.device import Device

with Device.open() as device:
    device.sync()
    for contact in device.table("contact").where("lastname", "=", "Kim").order_by("fullname").all():
        print(contact["fullname"])
```
"""

from satchel.device.client import Device
from satchel.device.download import SyncProgress, SyncReport
from satchel.device.key import DeviceKey
from satchel.device.lease import Clock
from satchel.device.queries import Table

__all__ = ["Clock", "Device", "DeviceKey", "SyncProgress", "SyncReport", "Table"]
