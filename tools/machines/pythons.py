"""`make test-pythons` runs the suite on each supported Python that can be had, on memory and SQLite.

    python -m tools.machines.pythons               # the oldest and the newest patch release of each version
    python -m tools.machines.pythons 3.11.2 3.14t  # these

It runs what `make test` runs on these databases: every promise once, with the contract. The packages are those of the
lock file. A package that cannot be had for a Python is left out, and the run and its record name it. Each run is
recorded for the page "Where it runs".
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

from tools.machines import environments, suite
from tools.machines.interpreters import VERSIONS, Found, NoPythonError, oldest_and_newest
from tools.machines.records import record

if TYPE_CHECKING:
    from collections.abc import Sequence

WHAT: Final = "every promise once, with the contract"
DATABASES: Final = "memory, SQLite"
_TIER: Final = ("-n", "auto", "--dist", "worksteal", "--tier", "short")


def name_of(exact: str) -> str:
    """Return a Python's name in the records."""
    return f"CPython {exact.removesuffix('t')}{', free-threaded' if exact.endswith('t') else ''}"


def try_on(found: Found) -> bool:
    """Run the suite on a Python and record the run; return whether all tests passed."""
    folder = environments.FOLDER / f"python-{found.exact}"
    left_out = environments.with_locked_packages(found.executable, folder)
    without = f", without {', '.join(left_out)}" if left_out else ""
    print(f"pythons: {name_of(found.exact)} from {found.executable}{without}", flush=True)
    started = time.monotonic()
    counts = suite.run(folder, *_TIER)
    print(f"pythons: {name_of(found.exact)}: {counts}, {time.monotonic() - started:.0f} s{without}", flush=True)
    record(
        suite.this_system(),
        name_of(found.exact),
        DATABASES,
        WHAT + without,
        passed=counts.passed,
        failed=counts.failed,
        skipped=counts.skipped,
    )
    return counts.failed == 0


def main(versions: Sequence[str]) -> int:
    green = True
    for version in versions or VERSIONS:
        try:
            for found in oldest_and_newest(version):
                green = try_on(found) and green
        except (NoPythonError, environments.NoEnvironmentError) as error:
            print(f"pythons: NOT TRIED: {error}", file=sys.stderr)
            green = False
    return 0 if green else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
