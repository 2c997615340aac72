"""The command `romancy`: reads a database, acts on its instances, and runs workers, from a shell.

Each module holds the commands of one purpose; `_endings` maps errors to exit codes. Commands that read take the URL
alone and run no code of the user's; they write nothing and do not migrate.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import click

from romancy import _ctrl_c
from romancy._oldest_versions import refusal
from romancy.cli._acting import ACTING
from romancy.cli._alerts import alerts
from romancy.cli._archive import archive
from romancy.cli._conforming import conformance
from romancy.cli._dashboard import ui
from romancy.cli._demo import demo
from romancy.cli._developing import dev
from romancy.cli._draining import drain
from romancy.cli._endings import ended
from romancy.cli._failures import failures
from romancy.cli._first_argument import Commands
from romancy.cli._going_back import fork, rewind
from romancy.cli._limits import limits
from romancy.cli._linting import lint
from romancy.cli._looking import LOOKING
from romancy.cli._moving import MOVING
from romancy.cli._printing import accept_every_character
from romancy.cli._questions import ask
from romancy.cli._rebuilding import rebuild
from romancy.cli._relaying import RELAYING
from romancy.cli._requesting import request
from romancy.cli._retention import retention
from romancy.cli._schedules import schedules
from romancy.cli._serving import serve
from romancy.cli._showing import show
from romancy.cli._stdout import check_stdout
from romancy.cli._tailing import TAILING
from romancy.cli._tending import TENDING
from romancy.cli._top import top
from romancy.cli._undelivered import undelivered
from romancy.cli._windows import WINDOWS
from romancy.cli._workers import workers
from romancy.cli._working import WORKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["cli", "main"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(package_name="romancy", message="romancy %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Durable workflows in your database.

    The database is given as the first argument, by --url or by ROMANCY_URL, as in sqlite:///app.db or
    postgresql://localhost/shop.

    Exit codes: 0 done, 1 failed (also the awaited workflow), 2 wrong usage, 3 not found, 4 conflict, 5 database, 6 code
    and history disagree, 130 interrupted.
    """
    if context.invoked_subcommand not in _WITHOUT_DATA:
        check_stdout()


_WITHOUT_DATA = frozenset({"alerts", "dev", "relay", "run", "serve"})
"""Commands that run until they are stopped, and write nothing to stdout that anything depends on."""


_ALL = (
    demo, dev, *WORKING, lint, serve, ui, *LOOKING, *TAILING, show, top, failures, workers, drain, alerts,
    schedules,
    *WINDOWS, limits, request, ask, *ACTING, fork, rewind, *RELAYING, undelivered, *TENDING, rebuild,
    *MOVING, archive, retention, conformance,
)  # fmt: skip
for _command in _ALL:
    cli.add_command(_command)


def _with_app(commands: Iterable[click.Command], app: str | None) -> dict[str | None, Any]:
    """The app as the default of each command that takes one, as click wants it."""
    found: dict[str | None, Any] = {}
    for one in commands:
        if isinstance(one, click.Group):
            found[one.name] = _with_app(one.commands.values(), app)
        elif any(option.name == "app" for option in one.params):
            found[one.name] = {"app": app}
    return found


def main(arguments: Sequence[str] | None = None, *, name: str = "romancy", app: str | None = None) -> None:
    """Run the command line, by default that of the process, and end the process with its exit code.

    `app` is the default of `--app` for each command that has this option.
    """
    refused = refusal("click", version("click"))
    if refused is not None:
        raise SystemExit(refused)
    accept_every_character()
    defaults = _with_app(_ALL, app)

    def run() -> object:
        _ctrl_c.is_answered()
        chosen = defaults if app is not None else None
        return cli.main(arguments, prog_name=name, standalone_mode=False, default_map=chosen)

    code = ended(run)
    _ctrl_c.is_not_answered()
    raise SystemExit(code)
