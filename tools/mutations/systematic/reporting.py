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
}


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
    outcomes = Counter[str]()
    for dialect in asked.dialects:
        mutants = chosen(asked, dialect)
        if mutants:
            outcomes += _of_dialect(dialect, mutants, asked)
    minutes = (time.monotonic() - began) / 60
    print(f"mutants: {outcomes.total()}; {', '.join(_counts(outcomes))}; {minutes:.1f} minutes", flush=True)
    return 0 if outcomes.keys() <= {"killed", "equivalent"} else 1


def _of_dialect(dialect: str, mutants: Sequence[Listed], asked: Asked) -> Counter[str]:
    if dialect in set(Kind):
        shared_server(Kind(dialect))  # the processes use the server of this one
    record = recorded(dialect, asked.tests)
    failed = [one.test for one in record if one.outcome == "failed"]
    if failed:
        print(f"{dialect}: these tests fail on the unchanged tree and judge nothing: {', '.join(failed)}", flush=True)
    classes = Counter(found.name for one in mutants if (found := class_of(one)))
    tried = [one for one in mutants if class_of(one) is None]
    began, used = time.monotonic(), _processor()
    lines = {line.key: line for line in probe(tried, record, asked.jobs, asked.tests)}
    seconds, used = time.monotonic() - began, _processor() - used
    for one in tried:
        line = lines[one.key]
        if line.outcome != "killed":
            print(f"{line.outcome:8} {one.label}\n{'':9}{_WORDS[line.outcome]}; {_details(line)}", flush=True)
    for name, count in classes.items():
        print(f"equivalent, {name}: {count}")
    outcomes = Counter(line.outcome for line in lines.values()) + Counter(equivalent=classes.total())
    tried_at_all = max(1, len(tried))
    costs = f"{seconds / tried_at_all:.1f} s for each mutant tried, {used / tried_at_all:.1f} s of a processor"
    print(f"{dialect}: {', '.join(_counts(outcomes))}; {costs}, without the servers", flush=True)
    return outcomes


def _processor() -> float:
    """The seconds that the processes which have ended took of a processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _counts(outcomes: Counter[str]) -> Iterable[str]:
    return (f"{count} {outcome}" for outcome, count in outcomes.most_common())


def _details(line: Line) -> str:
    return f"{line.tests} tests, {line.seconds:.0f} s" + (f"; {line.test}: {line.why}" if line.test else "")
