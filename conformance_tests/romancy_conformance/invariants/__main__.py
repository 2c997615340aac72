"""`python -m romancy_conformance.invariants URL [--app MODULE:APP]`: name everything that is wrong in a database.

With the app, whose workflows and codecs it takes, every log is replayed as well; without, logs are held against
themselves. Nothing is written and nothing is started. The exit code is 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
from functools import partial
from typing import TYPE_CHECKING

from romancy import Romancy
from romancy.errors import RomancyError
from romancy.registry import Registry
from romancy.serialization import NO_CODECS
from romancy_conformance.invariants import sweep_url

if TYPE_CHECKING:
    from collections.abc import Sequence


def _app(named: str) -> Romancy:
    """Return the app that `module:name` names."""
    module, _, name = named.partition(":")
    found = getattr(importlib.import_module(module), name, None)
    if not isinstance(found, Romancy):
        raise SystemExit(f"--app {named}: there is no Romancy app of that name; give MODULE:NAME of one")
    return found


def main(arguments: Sequence[str]) -> int:
    """Return 0 if there is no violation."""
    parser = argparse.ArgumentParser(prog="python -m romancy_conformance.invariants", description=__doc__)
    parser.add_argument("url", help="the URL of the database, as an app is given it")
    parser.add_argument("--app", metavar="MODULE:APP", help="replay every log with the workflows of this app")
    parser.add_argument(
        "--again-after", type=float, default=2.0, metavar="SECONDS", help="when to look once more at what seems wrong"
    )
    options = parser.parse_args(arguments)
    registry, codecs = Registry(), NO_CODECS
    if options.app is not None:
        app = _app(options.app)
        inside = vars(app)
        registry, codecs = Registry.collect(inside["_workflows"]), inside["_codecs"]
    try:
        complaints = asyncio.run(
            sweep_url(options.url, registry.workflows, codecs=codecs, again=partial(asyncio.sleep, options.again_after))
        )
    except RomancyError as error:
        print(error, file=sys.stderr)
        return 2
    for complaint in complaints:
        print(complaint)
    print(f"{len(complaints)} wrong" if complaints else "everything is in order")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
