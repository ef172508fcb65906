"""The pages, a file a subject."""

from satchel.console.pages.edits import EditsController
from satchel.console.pages.organizations import OrganizationsController
from satchel.console.pages.people import PeopleController
from satchel.console.pages.profiles import ProfilesController
from satchel.console.pages.watching import WatchingController

CONTROLLERS = [OrganizationsController, ProfilesController, PeopleController, EditsController, WatchingController]
