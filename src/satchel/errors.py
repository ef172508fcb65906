"""The one tree of errors, cut by what the catcher does next.

`code` is stable and stands on docs/reference/errors.md; the docstring is the default message. A message never holds
row content, tokens or connection strings.
"""

from __future__ import annotations

from typing import ClassVar


class SatchelError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "E000"
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str = "", *, hint: str = "", **facts: object) -> None:
        """Keep the message, a hint that says what to do, and facts (organization, entity, ...) for the log."""
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.hint = hint or self.default_hint
        self.facts = facts
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message


# -- do not start; exit status 2 -----------------------------------------------------------------------------------


class ConfigError(SatchelError):
    """The configuration is not usable."""

    code = "E100"


class SettingUnknown(ConfigError):
    """A setting has a name that Satchel does not know."""

    code = "E101"


class SettingInvalid(ConfigError):
    """A setting has a value that Satchel cannot use."""

    code = "E102"


class DataFolderUnusable(ConfigError):
    """The data folder cannot be written."""

    code = "E103"
    default_hint = "Give a folder with free space that this user may write: --data-folder or SATCHEL_DATA__FOLDER."


class PortInUse(ConfigError):
    """The port is taken by another program."""

    code = "E104"
    default_hint = "Stop that program or choose another port."


class DatabaseTooNew(ConfigError):
    """The database was written by a newer version of Satchel."""

    code = "E105"
    default_hint = "Install that version or a later one; this one changes nothing in the database."


class DatabaseUnusable(ConfigError):
    """The database server did not start or cannot be used."""

    code = "E106"


class ProfileInvalid(ConfigError):
    """The profile file asks for something that the organization's metadata does not have."""

    code = "E110"


class SourceMisconfigured(ConfigError):
    """The source's address or credentials are wrong."""

    code = "E111"
    default_hint = "Check the URL, the client id and the secret; nothing was saved."


class OrganizationUnknown(ConfigError):
    """There is no organization of that name."""

    code = "E112"
    default_hint = "`satchel org list` shows the names."


class OrganizationExists(ConfigError):
    """There is an organization of that name already."""

    code = "E113"


class StorageMisconfigured(ConfigError):
    """Object storage's address or credentials are wrong."""

    code = "E107"
    default_hint = "Check [storage]: url, endpoint, key_id and key_secret."


class UserUnknown(ConfigError):
    """The source has no such user."""

    code = "E114"


class InputInvalid(ConfigError):
    """An argument is not usable."""

    code = "E115"


class TopologyInvalid(ConfigError):
    """The topology file cannot be used."""

    code = "E117"
    default_hint = "`satchel deploy check TOPOLOGY` names all that is wrong; docs/reference/topology.md has the keys."


class CopyImpossible(ConfigError):
    """The database cannot be copied."""

    code = "E116"
    default_hint = "Nothing was changed; the organization goes on where it is."


class NameImpossible(ConfigError):
    """The organization cannot have a name in DNS."""

    code = "E118"


class BackupUnusable(ConfigError):
    """The backup cannot be made or restored here."""

    code = "E119"


class DeviceKeyWrong(ConfigError):
    """The device's key does not open its database."""

    code = "E120"
    default_hint = "Use the key or passphrase the device was enrolled with; without it the data cannot be read."


class DeviceNotEnrolled(ConfigError):
    """This folder holds no enrolled device."""

    code = "E121"
    default_hint = "Run `satchel device enroll LINK` with the link your administrator gave you."


class DeviceBusy(ConfigError):
    """Another process syncs this device."""

    code = "E123"
    default_hint = "Wait until it is done; reading is possible all the time."


class DeviceExists(ConfigError):
    """This folder holds an enrolled device already."""

    code = "E124"
    default_hint = "Use another folder (--folder), or delete this one if its data is no longer wanted."


class QueryInvalid(ConfigError):
    """The query cannot be run."""

    code = "E122"


class EditInvalid(ConfigError):
    """The change cannot be made."""

    code = "E125"
    default_hint = "Nothing was changed. `satchel device tables` shows what can be set."


class EditUnknown(ConfigError):
    """There is no such pending edit."""

    code = "E126"
    default_hint = "`satchel device pending` shows their numbers."


# -- the work item waits -------------------------------------------------------------------------------------------


class RetryLater(SatchelError):
    """The other side cannot answer now."""

    code = "E200"

    def __init__(self, message: str = "", *, wait_seconds: float = 0.0, hint: str = "", **facts: object) -> None:
        """Keep how long to wait before the next try (0: as the caller's back-off says)."""
        super().__init__(message, hint=hint, **facts)
        self.wait_seconds = wait_seconds


class SourceBusy(RetryLater):
    """The source asks for a pause (429 or 503 with Retry-After)."""

    code = "E201"


class SourceUnreachable(RetryLater):
    """The source does not answer."""

    code = "E202"


class StoreBusy(RetryLater):
    """The database cannot be reached now."""

    code = "E203"


class StorageBusy(RetryLater):
    """Object storage cannot be reached now."""

    code = "E206"
    default_hint = "`satchel doctor` tests it."


class TooManyEdits(RetryLater):
    """Too many edits of this device wait to be played back."""

    code = "E205"
    default_hint = "Nothing is lost: the rest waits on the device."


class NameServerBusy(RetryLater):
    """The name server does not take the change now."""

    code = "E207"


class ServerUnreachable(RetryLater):
    """The sync endpoint does not answer."""

    code = "E204"
    default_hint = "The data on this device stays usable; sync again when the network is back."


class IssuerUnreachable(RetryLater):
    """The issuer of sign-ins does not answer."""

    code = "E208"
    default_hint = "The data on this device stays usable, and edits wait; sign in when the issuer answers again."


class TooManyAttempts(RetryLater):
    """Too many attempts came from this address and were refused."""

    code = "E209"
    default_hint = "Wait for the time that is told; a link of your administrator can be pasted as a whole."


# -- drop the position, read again, reconcile ----------------------------------------------------------------------


class StartOver(SatchelError):
    """A stored position is no longer usable."""

    code = "E300"


class DeltaLinkExpired(StartOver):
    """The source no longer accepts the stored delta link."""

    code = "E301"


class CursorExpired(StartOver):
    """The device's cursor is older than what the server keeps."""

    code = "E302"


class PullOvertaken(StartOver):
    """Another worker went on with this pull."""

    code = "E304"


class JournalLost(StartOver):
    """The journal that had this device's edits is no longer there."""

    code = "E305"
    default_hint = "The device hands over again what was not settled, in its order."


# -- park this one, go on with the next ----------------------------------------------------------------------------


class Refused(SatchelError):
    """This item cannot be processed."""

    code = "E400"


class RequestInvalid(Refused):
    """The request is not usable."""

    code = "E402"


class CursorInvalid(Refused):
    """The cursor was not made by this server for this device."""

    code = "E403"
    default_hint = "Sync without a cursor: `satchel device sync --from-start`."


class RequestRefused(Refused):
    """The source refused the request."""

    code = "E404"


class NameForeign(Refused):
    """The name stands in DNS already, and Satchel did not make it."""

    code = "E407"
    default_hint = "Remove the name there if nobody needs it, or let the other scale unit give it up first."


class SealBroken(Refused):
    """A sealed value was altered, or sealed for another purpose."""

    code = "E405"


class SealUnknownKey(Refused):
    """A value was sealed with a key that this installation does not have."""

    code = "E406"
    default_hint = "Use the master key the value was sealed with: [secrets] key or key_file."


# -- tell the caller, never retry ----------------------------------------------------------------------------------


class Denied(SatchelError):
    """Access is denied."""

    code = "E500"


class TokenInvalid(Denied):
    """The token is missing, unknown or blocked."""

    code = "E501"


class NotEntitled(Denied):
    """The caller may not do this here."""

    code = "E502"


class EnrolmentRefused(Denied):
    """The enrolment code or the organization's name is wrong, or the code is used or expired."""

    code = "E503"
    default_hint = "Ask your administrator for a new enrolment link."


class WipeOrdered(Denied):
    """The administrator ordered this device to be wiped."""

    code = "E504"


class DeviceWiped(Denied):
    """This device was wiped: everything it held was erased."""

    code = "E505"
    default_hint = "Ask your administrator for an enrolment link and enroll anew."


class LeaseEnded(Denied):
    """The offline lease has ended."""

    code = "E506"
    default_hint = "Run `satchel device sync` when there is a network."


class SignInRefused(Denied):
    """This sign-in does not let anyone in here."""

    code = "E507"
    default_hint = "Sign in as another user, or ask your administrator."


class SignInNeeded(Denied):
    """The sign-in has ended."""

    code = "E508"
    default_hint = "Run `satchel device sign-in`; the data stays readable, and edits wait on the device."


# -- stop this organization, alert ---------------------------------------------------------------------------------


class Broken(SatchelError):
    """Something that must always hold does not hold."""

    code = "E600"


class ProtocolBroken(Broken):
    """The server's answer breaks the protocol."""

    code = "E602"
    default_hint = "Nothing of it was applied. Update the device or the server to the same version."


class BackupDamaged(Broken):
    """The backup is not what was written."""

    code = "E603"
    default_hint = "Use another backup; what of this one was restored before is as it was written."


class CopyDiverged(Broken):
    """The copy does not agree with its position."""

    code = "E601"
