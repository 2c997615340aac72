"""`python -m romancy_conformance.mutations [--jobs N] [WORD…]`: play mutations, and count those that nobody noticed.

First the tests that are to notice are run on the tree as it is: only what is green there says something in red.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from romancy_conformance.mutations import MUTATIONS
from romancy_conformance.mutations._mutation import Mutation, Verdict, play, play_unchanged, tree
from romancy_conformance.servers import Kind, shared_server

if TYPE_CHECKING:
    from collections.abc import Callable

_SAID = 30
"""How many lines of the test run are shown where it did not end as it should."""


class _Play(NamedTuple):
    """One thing to play, and what is said of it."""

    label: str
    play: Callable[[Path], Verdict]


def _asked_for(words: list[str]) -> list[Mutation]:
    return [
        mutation
        for mutation in MUTATIONS
        if not words or any(word in mutation.name or word == mutation.pitfall for word in words)
    ]


def _mutations(asked: list[Mutation], root: Path) -> list[_Play]:
    return [_Play(f"{mutation.pitfall:4} {mutation.name}", partial(play, mutation, root)) for mutation in asked]


def _unchanged(asked: list[Mutation], root: Path) -> list[_Play]:
    tests = dict.fromkeys((mutation.tests, mutation.backend) for mutation in asked)
    return [_Play(f"{backend:8} {named}", partial(play_unchanged, named, backend, root)) for named, backend in tests]


def _played(one: _Play) -> tuple[Verdict, float]:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            verdict = one.play(Path(folder))
        except LookupError as error:
            verdict = Verdict(caught=False, why=str(error), said=str(error))
    return verdict, time.monotonic() - began


def _play_all(plays: list[_Play], jobs: int, good: str, bad: str) -> int:
    """How many were bad; each is told as it ends, in the order of the list."""
    failures = 0
    with ThreadPoolExecutor(jobs) as threads:
        for one, (verdict, seconds) in zip(plays, threads.map(_played, plays), strict=True):
            failures += not verdict.caught
            print(f"{good if verdict.caught else bad} {seconds:5.1f} s  {one.label}\n{'':16}{verdict.why}", flush=True)
            if not verdict.caught:
                print("\n".join(f"{'':8}{line}" for line in verdict.said.splitlines()[-_SAID:]), flush=True)
    return failures


def main(arguments: list[str]) -> int:
    """0 if every mutation was noticed, and every test is green without them."""
    parser = argparse.ArgumentParser(prog="python -m romancy_conformance.mutations")
    parser.add_argument("words", nargs="*", metavar="WORD", help="only those whose name, pitfall or backend holds it")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="how many at a time")
    asked = parser.parse_args(arguments)
    root = tree()
    if root is None:
        print("mutations need the source tree: run this in a checkout")
        return 1
    wanted = _asked_for(asked.words)
    for kind in Kind:
        if any(mutation.backend == kind for mutation in wanted):
            shared_server(kind)  # the runs join this one's servers
    began = time.monotonic()
    unchanged, mutations = _unchanged(wanted, root), _mutations(wanted, root)
    red = _play_all(unchanged, asked.jobs, "green", "RED  ")
    survived = _play_all(mutations, asked.jobs, "caught  ", "SURVIVED")
    minutes = (time.monotonic() - began) / 60
    print(f"as it is: {len(unchanged)} sets of tests, {len(unchanged) - red} green, {red} not")
    print(
        f"mutations: {len(mutations)}, {len(mutations) - survived} caught, {survived} survived; {minutes:.1f} minutes"
    )
    return min(red + survived, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
