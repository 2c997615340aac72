"""A part of the suites behind a real PgBouncer. All of it: `ROMANCY_TEST_BACKENDS=pgbouncer make test ARGS=…`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from romancy_conformance.servers.kinds import ServerUnavailableError
from romancy_conformance.servers.pgbouncer import find_pgbouncer
from romancy_conformance.servers.plugin import do_without

ROOT: Final = Path(__file__).resolve().parents[2]
SUITE: Final = ROOT / "conformance_tests/romancy_conformance"
CHOSEN: Final = (
    *("contract/test_fence.py", "contract/test_carried.py", "contract/test_sessions.py", "contract/test_leases.py"),
    *("contract/test_inbox.py", "contract/test_mail.py"),
    *("behaviour/sagas/test_cancelling.py", "behaviour/retrying/test_retrying.py"),
)
"""What fences, what carries settings, and some workflows."""
_PASSED: Final = re.compile(r"^PgBouncer [\d.]+, transaction mode before .*: (\d+) tests$", re.MULTILINE)
FEWEST: Final = 100


@pytest.mark.timeout(1200)
def test_the_chosen_part_is_green() -> None:
    try:
        find_pgbouncer()
    except ServerUnavailableError as error:
        do_without("pgbouncer", error)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    ended = subprocess.run(
        [*command, *(str(SUITE / name) for name in CHOSEN)],
        cwd=ROOT,
        env=os.environ | {"ROMANCY_TEST_BACKENDS": "pgbouncer"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout[-8000:]
    found = _PASSED.search(ended.stdout)
    assert found is not None, ended.stdout[-2000:]
    assert int(found[1]) >= FEWEST
