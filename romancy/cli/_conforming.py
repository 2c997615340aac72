"""`conformance`: run the conformance suite against a storage adapter."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from typing import Final

import click

from romancy.cli._endings import FAILED
from romancy.cli._printing import say
from romancy.storage.backends import create_store

__all__ = ["conformance"]

_NEEDED: Final = ("pytest", "hypothesis")
_SUITE: Final = "romancy_conformance.contract"
_USAGE: Final = 4
_NOTHING: Final = 5
_INTERRUPTED: Final = 2


@click.command()
@click.option("--url", envvar="ROMANCY_CONFORMANCE_URL", metavar="URL", show_envvar=True, help="The same as URL.")
@click.argument("given", metavar="[URL]", required=False)
@click.argument("more", metavar="[-- PYTEST OPTIONS]", nargs=-1, type=click.UNPROCESSED)
def conformance(url: str | None, given: str | None, more: tuple[str, ...]) -> int:
    """Run the suite of the storage protocol against an adapter.

    The report lists which promises are kept. The tests write to that database and do not clean up: name one of their
    own. {unique} in the URL becomes a different word for each test, so that each has an empty database. What follows --
    goes to pytest, as in -- -x -k inbox.
    """
    target = given or url
    if target is None:
        raise click.UsageError("which database? Give its URL, as in `romancy conformance sqlite:////tmp/{unique}.db`")
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise click.ClickException(
            f"the suite needs {' and '.join(missing)}; install them with: pip install 'romancy[conformance]'"
        )
    create_store(target)  # raises if the URL or the adapter is wrong
    say("the tests write to this database and do not clean up after themselves")
    with tempfile.TemporaryDirectory() as folder:  # the settings of a surrounding project must not apply
        command = [sys.executable, "-m", "pytest", "--rootdir", folder, "-c", os.devnull, "-p", "no:cacheprovider"]
        # The URL may hold a password, and other users can read the arguments of a process.
        url_alone = {"PYTEST_ADDOPTS": shlex.join(["--storage-url", target])}
        environment = os.environ | url_alone | {"HYPOTHESIS_STORAGE_DIRECTORY": folder}
        asked = [*command, "--pyargs", _SUITE, "-q", *more]
        code = subprocess.run(asked, env=environment, check=False).returncode  # noqa: S603 - itself
    if code in {_USAGE, _NOTHING}:
        raise click.UsageError("pytest found nothing to run; look at the options behind --")
    return 130 if code == _INTERRUPTED else FAILED if code else 0
