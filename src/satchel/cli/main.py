"""`satchel`: finds the command, turns an error into a readable message and an exit status."""

from __future__ import annotations

import importlib
import sys
import traceback

import click

from satchel import __version__
from satchel.cli.output import print_error
from satchel.errors import ConfigError, Denied, Refused, SatchelError

EXIT_FAILED = 1
EXIT_MISUSE = 2

COMMANDS = {
    "up": "Run all services in this terminal, with embedded engines.",
    "run": "Run one service (for scale-out).",
    "org": "Organizations: add, provision, show, deprovision.",
    "server": "PostgreSQL servers of the staging databases: list.",
    "backup": "Backups: create, verify, restore.",
    "dns": "Names of organizations: check, export.",
    "profile": "Offline profiles: import, preview, publish, explain.",
    "edits": "Edits of devices: list, show, retry, close.",
    "console": "The console in the browser: open.",
    "doctor": "Is everything well? What is not, and what to do.",
    "logs": "Search the logs of all services.",
    "trace": "Show what a request or work item led to, with durations.",
    "key": "Master keys: list, rotate, retire.",
    "device": "A device: enroll, sync, query.",
    "deploy": "Firewalls, load balancer, units and manifests from one topology.",
    "sandbox": "A sample organization: a Dataverse-shaped OData service.",
}


class LazyGroup(click.Group):
    """Imports a command's file only when it is asked for, so that `--help` and the device stay quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"satchel.cli.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101 - each file names its click command so
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="satchel")
@click.option("-v", "--verbose", count=True, help="More messages; -vv shows tracebacks.")
@click.pass_context
def satchel(context: click.Context, verbose: int) -> None:
    """Carries an organization's business data to the devices of people who work away from the network.

    \b
    Try it in one terminal:
      satchel sandbox                      a sample organization to play with
      satchel up                           all services, embedded engines
      satchel org add NAME --source URL    then: satchel org provision NAME
      satchel device enroll LINK           then: satchel device sync
    """
    context.obj = verbose


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. Exit status: 0 done, 1 failed, 2 misuse (nothing was changed)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    verbose = any(a in {"-vv", "-vvv"} for a in arguments)
    try:
        status = satchel(arguments, prog_name="satchel", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_MISUSE)
    except (click.Abort, KeyboardInterrupt):
        print_error("Stopped.")
        sys.exit(EXIT_FAILED)
    except SatchelError as error:
        if verbose:
            traceback.print_exc()
        print_error(error.message, hint=error.hint, code=error.code, request=str(error.facts.get("request", "")))
        sys.exit(EXIT_MISUSE if isinstance(error, ConfigError | Refused | Denied) else EXIT_FAILED)
    sys.exit(status if isinstance(status, int) else 0)
