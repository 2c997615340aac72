"""A cluster from a seed; it ends with 1 when anything was found. The same seed gives the same run."""

from __future__ import annotations

import argparse
import os
import random
import secrets
import select
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from romancy_conformance.chaos.__main__ import features, shapes
from romancy_conformance.chaos.programs import UNUSUAL
from romancy_conformance.chaos.rounds import Plan
from romancy_conformance.chaos.shapes.catalogue import SHAPES
from romancy_conformance.simulation.slices import IMPOSSIBLE, Forked, Outcome, summed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HEAVY = frozenset({"heavy", "heavy-sealed"})
"""Shapes whose payloads would take most of the time."""


def plan_of(options: argparse.Namespace, number: int) -> Plan:
    """Return the plan of one slice."""
    seed = f"{options.seed}-{number}"
    chance = random.Random(f"plan {seed}")
    return Plan(
        seed=seed,
        programs=options.programs,
        seconds=options.seconds,
        workers=options.workers or chance.choice((1, 2, 3, 3, 5, 8)),
        lease=options.lease or chance.choice((1.0, 3.0, 3.0, 10.0)),
        patience=600.0,
        without=options.without | UNUSUAL | IMPOSSIBLE,
        shapes=options.shapes,
        instances=options.instances,
    )


def played(options: argparse.Namespace, more: Callable[[int], bool]) -> Iterator[Outcome]:
    """Play slices on all cores as long as `more` says so."""
    running: dict[int, Forked] = {}
    number = options.first
    while running or more(number):
        while len(running) < options.cores and more(number):
            forked = Forked(plan_of(options, number), keep=-1 if options.story else 0, kept=options.keep)
            running[forked.file] = forked
            number += 1
        ready, _, _ = select.select(list(running), [], [])
        for file in ready:
            yield running.pop(file).outcome()


def main() -> None:
    parser = argparse.ArgumentParser(prog="romancy_conformance.simulation", description=__doc__)
    parser.add_argument("--seed", default=secrets.token_hex(3), help="any word; the same word gives the same slices")
    parser.add_argument("--first", type=int, default=1, help="the number of the first slice")
    parser.add_argument("--slices", type=int, help="how many; without it, as many as the minutes allow")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--until-found", action="store_true", help="end with the first slice that has a finding")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--workers", type=int, help="without it, the seed chooses; the same for the lease")
    parser.add_argument("--programs", type=int, default=30, help="in each slice")
    parser.add_argument("--shapes", type=shapes, default=frozenset(SHAPES) - _HEAVY, help="of: " + ", ".join(SHAPES))
    parser.add_argument("--instances", type=int, default=60, help="of the shapes, in each slice")
    parser.add_argument("--seconds", type=float, default=20.0, help="of virtual time, in which faults happen")
    parser.add_argument("--lease", type=float)
    parser.add_argument("--without", type=features, default=frozenset(), help="operations, endings, ways, faults")
    parser.add_argument("--keep", type=Path, help="a folder for what the activities write (with --slices 1)")
    parser.add_argument("--story", type=Path, help="a file for the trace (with --slices 1)")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    begun, outcomes = time.monotonic(), list[Outcome]()

    def more(number: int) -> bool:
        if options.until_found and any(outcome.findings for outcome in outcomes):
            return False
        if options.slices is not None:
            return bool(number < options.first + options.slices)
        return bool(time.monotonic() - begun < options.minutes * 60)

    for outcome in played(options, more):
        outcomes.append(outcome)
        if outcome.findings or options.slices is not None:
            print(
                f"{outcome.seed}: digest {outcome.digest}, {outcome.instances} instances, {outcome.deaths} deaths, "
                f"{outcome.wire} faults of the wire, {outcome.virtual:.0f} s in {outcome.seconds:.1f} s",
                flush=True,
            )
        for finding in outcome.findings:
            print(f"  {finding}", flush=True)
        if options.story:
            options.story.write_text("".join(outcome.story), encoding="utf-8")
    total, seconds = summed(outcomes), time.monotonic() - begun
    print(
        f"{len(outcomes)} slices, {total.programs} programs, {total.instances} instances, {total.deaths} deaths, "
        f"{total.wire} faults of the wire, {total.virtual / 3600:.1f} h in {seconds:.0f} s, "
        f"{len(total.findings)} findings"
    )
    sys.exit(bool(total.findings))


def _under_one_hash_seed() -> None:
    """Begin again with hashes that are the same in each run: the order of sets depends on them."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        command = [sys.executable, "-m", "romancy_conformance.simulation", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})  # noqa: S606 - this very program


if __name__ == "__main__":
    _under_one_hash_seed()
    main()
