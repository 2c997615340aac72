"""Tries the mutants that are asked for, and says what no test notices."""

from __future__ import annotations

import random
import resource
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from romancy_conformance.servers import Kind, shared_server
from tools.mutations.systematic.equivalents import class_of
from tools.mutations.systematic.probing import probe, recorded
from tools.mutations.systematic.statements import changed_since, listed
from tools.mutations.systematic.survivors import is_known

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tools.mutations.systematic.prober import Line
    from tools.mutations.systematic.statements import Listed

__all__ = ["USUAL", "Asked", "chosen", "run"]

USUAL: Final = ("sqlite", "postgres", "mysql")
"""MariaDB gets the statements of MySQL; it is tried where it is asked for."""
_WORDS: Final = {
    "killed": "noticed by what a test reads back",
    "survived": "SURVIVED: all tests that use the statement pass",
    "tapped": "TAPPED: only tests that look at statements or hold them up notice it",
    "unused": "UNUSED: no test uses the statement",
    "broken": "BROKEN: the database refuses the text; mend the mutator",
    "unsure": "UNSURE: the test that noticed it fails without it too",
    "noticed": "NOTICED: take it off the list of those that no test notices (`survivors`)",
}
_GOOD: Final = frozenset({"killed", "equivalent", "known", "left"})
"""What does not fail a run. `known`: it is on the list of those that no test notices."""


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
        tried = [one for one in tried if not is_known(one)]
        random.Random(0).shuffle(tried)
    if tried:
        outcomes += Counter(_tried(dialect, tried, asked, until))
    print(f"{dialect}: {', '.join(_counts(outcomes))}", flush=True)
    return +outcomes


def _tried(dialect: str, mutants: Sequence[Listed], asked: Asked, until: float | None) -> Iterable[str]:
    """Try these, print what no test notices, and return what became of each."""
    if dialect in set(Kind):
        shared_server(Kind(dialect))  # the processes use the server of this one
    record = recorded(dialect, asked.tests)
    failed = [one.test for one in record if one.outcome == "failed"]
    if failed:
        print(f"{dialect}: these tests fail on the unchanged tree and judge nothing: {', '.join(failed)}", flush=True)
    began, used = time.monotonic(), _processor()
    lines = {line.key: line for line in probe(mutants, record, asked.jobs, asked.tests, until)}
    seconds, used = time.monotonic() - began, _processor() - used
    outcomes: list[str] = []
    for one in mutants:
        line = lines[one.key]
        outcomes.append(_outcome(one, line))
        if outcomes[-1] not in _GOOD:
            print(f"{outcomes[-1]:8} {one.label}\n{'':9}{_WORDS[outcomes[-1]]}; {_details(line)}", flush=True)
    each, used = seconds / len(mutants), used / len(mutants)
    print(f"{dialect}: {each:.1f} s for each mutant, {used:.1f} s of a processor, without the servers", flush=True)
    return outcomes


def _outcome(mutant: Listed, line: Line) -> str:
    """What became of it, with what is known of it."""
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
    return f"{line.tests} tests, {line.seconds:.0f} s" + (f"; {line.test}: {line.why}" if line.test else "")
