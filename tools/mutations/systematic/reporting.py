"""Tries the mutants that are asked for, and says what no test notices."""

from __future__ import annotations

import os
import random
import resource
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from romancy_conformance.servers import Kind, shared_server
from tools.mutations.systematic.equivalents import class_of
from tools.mutations.systematic.jobs import Job, Trial
from tools.mutations.systematic.killers import Killers
from tools.mutations.systematic.probing import FOLDER, probe, recorded
from tools.mutations.systematic.statements import changed_since, listed
from tools.mutations.systematic.survivors import is_known, is_undecided

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tools.mutations.systematic.jobs import Line
    from tools.mutations.systematic.statements import Listed

__all__ = ["USUAL", "Asked", "chosen", "run"]

USUAL: Final = ("sqlite", "postgres", "mysql")
"""MariaDB gets the statements of MySQL; it is tried where it is asked for."""
_PATIENCE: Final = 60.0
"""A statement of every append is used by all tests. One that is about it comes early."""
_WORDS: Final = {
    "killed": "noticed by what a test reads back",
    "survived": "SURVIVED: all tests that use the statement pass",
    "tapped": "TAPPED: only tests that look at statements or hold them up notice it",
    "unused": "UNUSED: no test uses the statement",
    "broken": "BROKEN: the database refuses the text; mend the mutator",
    "unsure": "UNSURE: the test that noticed it fails without it too",
    "noticed": "NOTICED: take it off the list of those that no test notices (`survivors`)",
    "decided": "DECIDED: a test notices it; take it off `undecided.txt`",
}
_QUIET: Final = frozenset({"killed", "equivalent", "known", "undecided", "left"})
"""What a run does not print. `known` and `undecided`: it is on a list of those that no test notices."""
_GOOD: Final = _QUIET | {"decided"}
"""What does not fail a run."""


class Asked(Struct, frozen=True, kw_only=True):
    """Which mutants are to be tried, and how."""

    words: tuple[str, ...] = ()
    """Names of statements, or kinds, or pieces of a label; a mutant is tried if it has one of them."""
    dialects: tuple[str, ...] = USUAL
    since: str | None = None
    """Only texts that have changed since the branch left this commit."""
    sample: int | None = None
    """At most so many of each dialect, always the same ones of a tree."""
    jobs: int = 1
    minutes: float | None = None
    """How long it may take. What is tried is then in a mixed order, always the same of a tree, and known survivors are
    not.
    """
    patience: float = _PATIENCE
    """The seconds of tests, by their recorded time, that a mutant meets at most."""
    tests: tuple[str, ...] = ()
    """Other tests than those of the contract."""


def chosen(asked: Asked, dialect: str) -> list[Listed]:
    """The mutants of a dialect that are asked for."""
    mutants = [one for one in listed(dialect) if not asked.words or any(_fits(word, one) for word in asked.words)]
    if asked.since is not None:
        changed = changed_since(dialect, asked.since)
        mutants = [one for one in mutants if one.statement in changed]
    if asked.sample is not None and asked.sample < len(mutants):
        some = random.Random(0).sample(range(len(mutants)), asked.sample)
        mutants = [mutants[number] for number in sorted(some)]
    return mutants


def _fits(word: str, mutant: Listed) -> bool:
    return word in (mutant.statement, mutant.kind) or (" " in word and word in mutant.label)


def run(asked: Asked) -> int:
    """Return 0 if every mutant is noticed, or is in a class of equivalents."""
    began = time.monotonic()
    until = None if asked.minutes is None else time.time() + asked.minutes * 60
    outcomes = Counter[str]()
    for dialect in asked.dialects:
        mutants = chosen(asked, dialect)
        if mutants:
            outcomes += _of_dialect(dialect, mutants, asked, until)
    minutes = (time.monotonic() - began) / 60
    print(f"mutants: {outcomes.total()}; {', '.join(_counts(outcomes))}; {minutes:.1f} minutes", flush=True)
    if outcomes["left"]:
        print(f"{outcomes['left']} were left out: the time was up", flush=True)
    return 0 if outcomes.keys() <= _GOOD else 1


def _of_dialect(dialect: str, mutants: Sequence[Listed], asked: Asked, until: float | None) -> Counter[str]:
    classes = Counter(found.name for one in mutants if (found := class_of(one)))
    for name, count in classes.items():
        print(f"equivalent, {name}: {count}", flush=True)
    outcomes = Counter(equivalent=classes.total())
    tried = [one for one in mutants if class_of(one) is None]
    if until is not None:
        outcomes["known"] = sum(map(is_known, tried))
        outcomes["undecided"] = sum(map(is_undecided, tried))
        tried = [one for one in tried if not is_known(one) and not is_undecided(one)]
        random.Random(0).shuffle(tried)
    if tried:
        outcomes += _tried(dialect, tried, asked, until)
    print(f"{dialect}: {', '.join(_counts(outcomes))}", flush=True)
    return +outcomes


def _tried(dialect: str, mutants: Sequence[Listed], asked: Asked, until: float | None) -> Counter[str]:
    """Try these, print what no test notices as soon as it is known, and count what became of each."""
    if dialect in set(Kind):
        shared_server(Kind(dialect))  # the processes use the server of this one
    record = recorded(dialect, asked.tests)
    failed = [one.test for one in record if one.outcome == "failed"]
    if failed:
        print(f"{dialect}: these tests fail on the unchanged tree and judge nothing: {', '.join(failed)}", flush=True)
    killers = Killers()
    by_key = {one.key: one for one in mutants}
    outcomes = Counter[str]()

    def tell(line: Line) -> None:
        one = by_key[line.key]
        outcome = _outcome(one, line)
        outcomes[outcome] += 1
        if line.outcome == "killed" and line.test:
            killers.note(one, line.test)
        if outcome not in _QUIET:
            print(f"{outcome:8} {one.label}\n{'':9}{_WORDS[outcome]}; {_details(line)}", flush=True)

    began, used = time.monotonic(), _processor()
    job = Job(f"{FOLDER}/answers-{os.getpid()}-{dialect}", recorded=record, until=until, patience=asked.patience)
    probe(dialect, _shares(mutants, asked.jobs, killers), job, tell, asked.tests)
    tried = max(1, outcomes.total() - outcomes["left"])
    each, used = (time.monotonic() - began) / tried, (_processor() - used) / tried
    print(f"{dialect}: {each:.1f} s for each mutant, {used:.1f} s of a processor, without the servers", flush=True)
    return outcomes


def _shares(mutants: Sequence[Listed], jobs: int, killers: Killers) -> list[list[Trial]]:
    """The mutants of each process. It tries all those of a statement, and learns what notices them."""
    shares: list[list[Trial]] = [[] for _ in range(jobs)]
    loads = [0] * jobs
    places: dict[str, list[Trial]] = {}
    for statement, count in Counter(one.statement for one in mutants).most_common():
        number = loads.index(min(loads))
        loads[number] += count
        places[statement] = shares[number]
    for one in mutants:
        places[one.statement].append(Trial(one.key, one.statement, one.kind, one.text, killers.of(one)))
    return shares


def _outcome(mutant: Listed, line: Line) -> str:
    """What became of it, with what is known of it."""
    if is_undecided(mutant):
        return {"killed": "decided", "broken": "broken", "left": "left"}.get(line.outcome, "undecided")
    if not is_known(mutant):
        return line.outcome
    return {"killed": "noticed", "broken": "broken", "left": "left"}.get(line.outcome, "known")


def _processor() -> float:
    """The seconds that the processes which have ended took of a processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _counts(outcomes: Counter[str]) -> Iterable[str]:
    return (f"{count} {outcome}" for outcome, count in outcomes.most_common())


def _details(line: Line) -> str:
    tests = f"{line.tests} of {line.of} tests" if line.of else f"{line.tests} tests"
    return f"{tests}, {line.seconds:.0f} s" + (f"; {line.test}: {line.why}" if line.test else "")
