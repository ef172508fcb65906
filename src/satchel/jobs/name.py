"""Bring an organization's name in DNS to what is wanted: there while the organization is, gone with it."""

from __future__ import annotations

import structlog

from satchel.errors import SatchelError
from satchel.jobs.provision import ProvisioningWork

log = structlog.get_logger()


async def name(work: ProvisioningWork, organization: str) -> None:
    """Publish or remove one name; what fails is noted with it, and tried again. Again is harmless."""
    wanted = await work.names.find(organization)
    if wanted is None or work.zone is None:
        return
    try:
        change = work.zone.publish if wanted.is_wanted else work.zone.remove
        if await change(organization):
            log.info("name changed", organization=organization, is_there=wanted.is_wanted)
    except SatchelError as error:
        log.warning("name not changed", organization=organization, reason=error.message, code=error.code)
        await work.names.failed(organization, f"{error.message} [{error.code}]")
    else:
        await work.names.done(wanted, again_seconds=work.name_check_seconds)
