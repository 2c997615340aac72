"""Runs the tests that a change needs.

    python -m tools.quick [--base COMMIT] [--record] [PYTEST OPTION …]

The change is what differs from the merge base with the upstream branch, committed or not, or from a given commit. The
first run records the map, which takes some minutes; so does `--record`, after larger changes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from typing import Final

from tools import tree
from tools.check_quick import merge_base
from tools.quick import mapping
from tools.quick.changes import changed_paths
from tools.quick.choosing import choose, needs
from tools.quick.chosen import write_choice
from tools.quick.recording import record

_TESTS: Final = 40.0
"""Seconds of one process for the chosen tests, as they were recorded on the memory store."""
_NO_MORE: Final = 50.0
"""Seconds after which no further test begins."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make test-quick", description="Run the tests that a change needs.")
    parser.add_argument("--base", help="the commit to compare with; the merge base with the upstream by default")
    parser.add_argument("--record", action="store_true", help="first record anew which tests enter which functions")
    options, rest = parser.parse_known_args()
    if options.record or not list(mapping.FOLDER.glob("*.json")):
        print("test-quick: recording which tests enter which functions, once, in some minutes", flush=True)
        if not record():
            print("test-quick: the recording did not reach its end")
            return 1
    began = time.time()
    recorded = mapping.merge(run for file in mapping.FOLDER.glob("*.json") for run in mapping.load(file))
    base = options.base or merge_base(tree.ROOT)
    paths = changed_paths(tree.ROOT, base)
    tests = {tree.name_of(file) for file in tree.files(".py") if file.name.startswith("test_")}
    wanted = needs(tree.ROOT, base, paths, recorded.tests, tests)
    names = choose(recorded, wanted, _TESTS)
    files = sorted({name.partition("::")[0] for name in names} & tests | wanted.own)
    print(f"test-quick: {len(paths)} changed files need {len(names)} tests of {len(files)} files", flush=True)
    if not files:
        return 0
    write_choice(names, wanted.own, began + _NO_MORE)
    stores = os.environ.get("ROMANCY_TEST_BACKENDS", f"memory,sqlite,{wanted.server}")
    command = [sys.executable, "-m", "pytest", "-p", "tools.quick.chosen", "--tier", "short", "-q", *rest, *files]
    done = subprocess.run(
        command, cwd=tree.ROOT, env={**os.environ, "ROMANCY_TEST_BACKENDS": stores}, check=False
    ).returncode
    print(f"test-quick: {time.time() - began:.0f} s")
    return 0 if done == _NO_TESTS else done


_NO_TESTS: Final = 5
"""Pytest's exit code. A changed test file may have long tests alone."""


if __name__ == "__main__":
    sys.exit(main())
