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
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from romancy.testing.simulating.cluster import be_silent
from romancy.testing.simulating.story import in_columns
from romancy_conformance.chaos.__main__ import features, shapes
from romancy_conformance.chaos.faults import ON_CLOCKS
from romancy_conformance.chaos.kept import Kept
from romancy_conformance.chaos.programs import CHANNELS, EVENTS, RETRIED, UNUSUAL
from romancy_conformance.chaos.rounds import Plan
from romancy_conformance.chaos.shapes.catalogue import SHAPES, drawn
from romancy_conformance.simulation.named.catalogue import CASES
from romancy_conformance.simulation.named.scene import play_case
from romancy_conformance.simulation.repeating import add_options, command, kept_of
from romancy_conformance.simulation.shrinking import Shrinking
from romancy_conformance.simulation.slices import IMPOSSIBLE, Forked, Outcome, play_here, prepare, summed
from romancy_conformance.simulation.story import tell, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HEAVY = frozenset({"heavy", "heavy-sealed"})
"""Shapes whose payloads would take most of the time."""
_RETRIES_EVERY = 3
"""In each slice whose number is a multiple of this, programs are retried too, also while they are cancelled again."""
_TIMES = 5
"""How often a named case is played, each time another way."""
_CROWDED = 0.15
"""The share of slices whose programs may have thousands of tasks: one such program takes as long as twenty others."""
_CLOCKS = 0.3
"""The share of slices in which the clock of the database stands, or is set back."""
_TIMELY = frozenset({"outbox", *EVENTS, *CHANNELS})
"""What is then left out: messages of a key or an address have the order of the database's time (docs/faults.md)."""
_PROGRAMS = (0, 10, 30)
"""A program takes as long as three instances of a shape."""
_PAUSES = (0.1, 0.6)
"""Seconds between two faults."""
_DEADLY = 2
"""By how much more often than in chaos a worker is killed."""
_LINES = 60
"""How much of the story of a smaller case is printed."""


def plan_of(options: argparse.Namespace, number: int) -> Plan:
    """Return the plan of one slice."""
    seed = f"{options.seed}-{number}"
    chance = random.Random(f"plan {seed}")
    left_out = set[str]() if chance.random() < _CROWDED else {"crowd"}
    left_out |= _TIMELY if chance.random() < _CLOCKS else ON_CLOCKS.keys()
    left_out |= UNUSUAL if number % _RETRIES_EVERY else UNUSUAL - RETRIED
    shown, without = drawn(seed, options.shapes, options.without | IMPOSSIBLE | left_out)
    return Plan(
        seed=seed,
        programs=chance.choice(_PROGRAMS) if options.programs is None else options.programs,
        seconds=options.seconds,
        workers=options.workers or chance.choice((1, 2, 3, 3, 5, 8)),
        lease=options.lease or chance.choice((1.0, 3.0, 3.0, 10.0)),
        patience=600.0,
        pauses=_PAUSES,
        deadly=_DEADLY,
        without=without,
        shapes=shown,
        instances=options.instances,
        kept=kept_of(options),
    )


def played(options: argparse.Namespace, more: Callable[[int], bool]) -> Iterator[Outcome]:
    """Play slices on all cores as long as `more` says so."""
    running: dict[int, Forked] = {}
    number = options.first
    while running or more(number):
        while len(running) < options.cores and more(number):
            forked = Forked(plan_of(options, number), keep=-1 if options.story else 0, kept=_folder_of(options, number))
            running[forked.file] = forked
            number += 1
        ready, _, _ = select.select(list(running), [], [])
        for file in ready:
            yield running.pop(file).outcome()


def _folder_of(options: argparse.Namespace, number: int) -> Path | None:
    """Make the folder of a slice, if it is to be kept. What another slice wrote there would be taken for its own."""
    if options.keep is None:
        return None
    folder: Path = options.keep / f"{options.seed}-{number}"
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        sys.exit(f"--keep: {folder} is there already, from another run; give another folder")
    return folder


def named(options: argparse.Namespace) -> Iterator[Outcome]:
    """Play the case that has the name of the seed, as often as there are slices, each time another way."""
    be_silent()
    case = CASES[options.seed]
    for number in range(options.first, options.first + (options.slices or _TIMES)):
        yield play_case(f"{options.seed}-{number}", case.part, case.workflows, keep=-1 if options.story else 0)


def report(options: argparse.Namespace, outcome: Outcome) -> None:
    """Print what a slice has found, and write its story."""
    if outcome.findings or options.slices is not None:
        print(
            f"{outcome.seed}: digest {outcome.digest}, {outcome.instances} instances, {outcome.deaths} deaths, "
            f"{outcome.wire} faults of the wire, {outcome.virtual:.0f} s in {outcome.seconds:.1f} s",
            flush=True,
        )
    for finding in outcome.findings:
        print(f"  {finding}", flush=True)
    if options.story:
        tell(outcome, options.story, options.about)


def stop(options: argparse.Namespace) -> None:
    """Play the first slice in this process, and begin a debugger in it."""
    with TemporaryDirectory() as folder:
        kept = _folder_of(options, options.first) or Path(folder)
        outcome = play_here(plan_of(options, options.first), kept, stop_at=options.stop_at)
    print(f"{outcome.seed}: digest {outcome.digest}, {len(outcome.findings)} findings")


def shrink(parser: argparse.ArgumentParser, options: argparse.Namespace, found: Outcome) -> None:
    """Look for a smaller case of this slice, and print the command that repeats it, and the end of its story."""
    number = int(found.seed.rpartition("-")[2])
    shrinking = Shrinking(plan_of(options, number), found, cores=options.cores)
    every = len(shrinking.parts)
    shrinking.shrink()
    print(f"{found.seed}: a smaller case has {len(shrinking.parts)} of {every} parts, after {shrinking.tries} tries:")
    print(f"  {command(parser, options, number, shrinking.plan.kept)}")
    for finding in shrinking.outcome.findings:
        print(f"  {finding}")
    lines = [in_columns(entry) for entry in told(shrinking.outcome) if not entry.is_quiet]
    print("\n".join(lines[-_LINES:]), flush=True)


def options_of_a_run() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="romancy_conformance.simulation", description=__doc__)
    parser.add_argument(
        "--seed",
        default=secrets.token_hex(3),
        help="any word; the same word gives the same slices, "
        "and the name of a case plays that case: " + ", ".join(CASES),
    )
    parser.add_argument("--first", type=int, default=1, help="the number of the first slice")
    parser.add_argument("--slices", type=int, help="how many; without it, as many as the minutes allow")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--until-found", action="store_true", help="end with the first slice that has a finding")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--workers", type=int, help="without it, the seed chooses; the same for the lease")
    parser.add_argument("--programs", type=int, help="in each slice; without it, the seed chooses")
    parser.add_argument("--shapes", type=shapes, default=frozenset(SHAPES) - _HEAVY, help="of: " + ", ".join(SHAPES))
    parser.add_argument("--instances", type=int, default=60, help="of the shapes, in each slice")
    parser.add_argument("--seconds", type=float, default=28.0, help="of virtual time, in which faults happen")
    parser.add_argument("--lease", type=float)
    parser.add_argument("--without", type=features, default=frozenset(), help="operations, endings, ways, faults")
    parser.add_argument("--keep", type=Path, help="a folder for what the activities of each slice write")
    parser.add_argument("--story", type=Path, help="a file for who did what (with --slices 1); JSON if named *.jsonl")
    parser.add_argument("--about", help="the instance or process of the story; all; otherwise that of a finding")
    parser.add_argument("--no-shrink", dest="shrink", action="store_false", help="look for no smaller case")
    parser.add_argument("--stop-at", type=float, metavar="SECONDS", help="begin a debugger there, in the first slice")
    add_options(parser)
    return parser


def main() -> None:
    parser = options_of_a_run()
    options = parser.parse_args()
    if options.stop_at is not None:
        stop(options)
        return
    begun, outcomes = time.monotonic(), list[Outcome]()

    def more(number: int) -> bool:
        if options.until_found and any(outcome.findings for outcome in outcomes):
            return False
        if options.slices is not None:
            return bool(number < options.first + options.slices)
        return bool(time.monotonic() - begun < options.minutes * 60)

    prepare()
    for outcome in named(options) if options.seed in CASES else played(options, more):
        outcomes.append(outcome)
        report(options, outcome)
        if outcome.findings and options.until_found and options.seed in CASES:
            break
    found = next((outcome for outcome in outcomes if outcome.findings), None)
    if found is not None and options.shrink and kept_of(options) == Kept() and options.seed not in CASES:
        shrink(parser, options, found)
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
