"""`python -m tools.mutations [--jobs N] [WORD…]`: run mutations, and count those that no test notices.

The named tests first run on the unchanged tree: a test that fails there shows nothing about a mutation.

`--systematic` tries the systematic mutants instead: [--dialect D]… [--changed | --changed-since COMMIT] [--minutes M]
[--patience S] [--sample N] [--list]. Then a WORD is the name of a statement, a kind of mutant, or, with a blank in it,
a piece of what is printed of a mutant.
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

from romancy_conformance.servers import Kind, shared_server
from tools.mutations import MUTATIONS
from tools.mutations.playing import Mutation, Verdict, play, play_unchanged
from tools.mutations.systematic.branch import base_of
from tools.mutations.systematic.reporting import USUAL, Asked, chosen, run
from tools.mutations.systematic.statements import DIALECTS

if TYPE_CHECKING:
    from collections.abc import Callable

_SHOWN = 30
"""How many lines of a test run are printed if it did not end as expected."""


class _Play(NamedTuple):
    """One run of named tests, and its label in the report."""

    label: str
    play: Callable[[Path], Verdict]


def _asked_for(words: list[str]) -> list[Mutation]:
    return [
        mutation
        for mutation in MUTATIONS
        if not words or any(word in mutation.name or word == mutation.pitfall for word in words)
    ]


def _mutations(asked: list[Mutation]) -> list[_Play]:
    return [_Play(f"{mutation.pitfall:4} {mutation.name}", partial(play, mutation)) for mutation in asked]


def _unchanged(asked: list[Mutation]) -> list[_Play]:
    tests = dict.fromkeys((mutation.tests, mutation.backend) for mutation in asked)
    return [_Play(f"{backend:8} {named}", partial(play_unchanged, named, backend)) for named, backend in tests]


def _played(one: _Play) -> tuple[Verdict, float]:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            verdict = one.play(Path(folder))
        except LookupError as error:
            verdict = Verdict(passed=False, why=str(error), output=str(error))
    return verdict, time.monotonic() - began


def _play_all(plays: list[_Play], jobs: int, good: str, bad: str) -> int:
    """Play in threads, report in the order of the list, and return how many did not pass."""
    failures = 0
    with ThreadPoolExecutor(jobs) as threads:
        for one, (verdict, seconds) in zip(plays, threads.map(_played, plays), strict=True):
            failures += not verdict.passed
            print(f"{good if verdict.passed else bad} {seconds:5.1f} s  {one.label}\n{'':16}{verdict.why}", flush=True)
            if not verdict.passed:
                print("\n".join(f"{'':8}{line}" for line in verdict.output.splitlines()[-_SHOWN:]), flush=True)
    return failures


def _systematic(options: argparse.Namespace) -> int:
    asked = Asked(
        words=tuple(options.words),
        dialects=tuple(options.dialect or USUAL),
        since=base_of() if options.changed else options.changed_since,
        sample=options.sample,
        jobs=options.jobs,
        minutes=options.minutes,
        patience=options.patience,
    )
    if not options.list:
        return run(asked)
    for mutant in (each for dialect in asked.dialects for each in chosen(asked, dialect)):
        print(mutant.label)
    return 0


def main(arguments: list[str]) -> int:
    """Return 0 if every mutation was noticed and every named test passes on the unchanged tree."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutations")
    parser.add_argument("words", nargs="*", metavar="WORD", help="only mutations whose name or pitfall holds it")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="how many at a time")
    parser.add_argument(
        "--systematic", action="store_true", help="change every predicate, order, limit, lock and guard"
    )
    parser.add_argument("--dialect", action="append", choices=DIALECTS, help="systematic: only this database")
    parser.add_argument(
        "--changed-since", metavar="COMMIT", help="systematic: only texts changed since that merge base"
    )
    parser.add_argument("--changed", action="store_true", help="systematic: only texts that this branch has changed")
    parser.add_argument("--minutes", type=float, metavar="M", help="systematic: begin no further test after that time")
    parser.add_argument(
        "--patience",
        type=float,
        metavar="S",
        default=Asked().patience,
        help="systematic: try a mutant with no more than so many seconds of tests (%(default)s)",
    )
    parser.add_argument("--sample", type=int, metavar="N", help="systematic: at most so many of each database")
    parser.add_argument("--list", action="store_true", help="systematic: print the mutants and try none")
    asked = parser.parse_args(arguments)
    if asked.systematic:
        return _systematic(asked)
    wanted = _asked_for(asked.words)
    for kind in Kind:
        if any(mutation.backend == kind for mutation in wanted):
            shared_server(kind)  # the test runs use the servers of this process
    began = time.monotonic()
    unchanged, mutations = _unchanged(wanted), _mutations(wanted)
    failed = _play_all(unchanged, asked.jobs, "passed", "FAILED")
    survived = _play_all(mutations, asked.jobs, "caught  ", "SURVIVED")
    minutes = (time.monotonic() - began) / 60
    print(f"unchanged: {len(unchanged)} sets of tests, {failed} failed")
    print(f"mutations: {len(mutations)}, {survived} survived; {minutes:.1f} minutes")
    return min(failed + survived, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
