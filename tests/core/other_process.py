"""Run by `test_everywhere`: continues histories in another process, with another heap, hash seed or Python.

Reads `{scenario: [[instance, commit], …]}` from its input, replays each history whole and continues from every cut that
`--cuts` asks for; writes `{scenario: problem}` for those with a different result.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import sys

from romancy_conformance.workflows import FAMILY
from tests.core.awkward import AWKWARD
from tests.core.driver import World

ALL = {**FAMILY, **AWKWARD}

Commits = list[tuple[str, bytes]]


def shuffle_heap(seed: int) -> list[object]:
    """Allocate objects of many sizes and drop some, so that addresses vary."""
    chance = random.Random(seed)
    kept: list[object] = []
    for _ in range(20_000):
        kept.append(bytearray(chance.randrange(16, 700)) if chance.random() < 0.7 else [object()] * chance.randrange(9))
        if chance.random() < 0.4:
            kept.pop(chance.randrange(len(kept)))
    return kept


def problem(name: str, commits: Commits, cuts: int, *, exact: bool) -> str | None:
    """Return what differs, if anything does."""
    whole = World(ALL[name], commits)
    expected = whole.main.outcome
    if expected is None:
        return "the whole history does not end"
    for cut in sorted({round(len(commits) * (part + 1) / (cuts + 1)) for part in range(cuts)} - {0}):
        resumed = whole.cut(cut)
        outcome = resumed.finish()
        if (outcome.status, outcome.result) != (expected.status, expected.result):
            return f"cut after {cut} commits: {outcome.status} {outcome.result!r}"
        if exact and resumed.commits != commits:
            return f"cut after {cut} commits: the log goes on differently"
    return None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--heap", type=int, default=0)
    parser.add_argument("--cuts", type=int, default=2)
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--write", action="store_true", help="write histories instead of reading them")
    options = parser.parse_args()
    if options.write:
        json.dump({name: histories(name) for name in ALL}, sys.stdout)
        return
    kept = shuffle_heap(options.heap)
    gc.collect()
    gc.set_threshold(50 + options.heap % 50)  # collections are frequent, and at other places than in the writer
    problems: dict[str, str] = {}
    for name, commits in json.load(sys.stdin).items():
        try:
            found = problem(name, [(id, body.encode()) for id, body in commits], options.cuts, exact=options.exact)
        except Exception as error:  # noqa: BLE001 - any failure is a finding, told to the test
            found = f"{type(error).__name__}: {error}"
        if found is not None:
            problems[name] = found
    assert kept
    json.dump(problems, sys.stdout)


def histories(name: str) -> list[tuple[str, str]]:
    """Return the commits of a whole play, as text."""
    world = World(ALL[name])
    world.finish()
    return [(id, body.decode()) for id, body in world.commits]


if __name__ == "__main__":
    main()
