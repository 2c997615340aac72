"""The text of a finding: what went wrong, in a case that is as small as could be found, and how to repeat it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from romancy.testing.simulating.cases import Case, Outcome

__all__ = ["report"]

_MOST_TOLD: Final = 3


def report(case: Case, outcome: Outcome, found: Case, smallest: Outcome) -> str:
    lines = [f"simulate, seed {case.seed}:", *_findings(outcome)]
    if found == case:
        lines += ["", f"{_workers(found)}, {_faults(smallest)}:", *(f"  {each}" for each in smallest.faults)]
    else:
        lines += ["", f"A smaller case, {_workers(found)} and {_faults(smallest)}:"]
        lines += [f"  {each}" for each in smallest.faults]
        lines += [*_findings(smallest)]
    lines += ["", "The last steps (faults begin with !; seconds, process, what it did):", *smallest.story]
    lines += ["", f'To repeat it: simulate(…, seed="{found}")']
    return "\n".join(lines)


def _findings(outcome: Outcome) -> list[str]:
    told = [f"  {kind}: " + text.replace("\n", "\n    ") for kind, text in outcome.findings[:_MOST_TOLD]]
    more = len(outcome.findings) - _MOST_TOLD
    return [*told, f"  and {more} more"] if more > 0 else told


def _faults(outcome: Outcome) -> str:
    count = len(outcome.faults)
    return f"{count} fault{'' if count == 1 else 's'}" if count else "no faults"


def _workers(case: Case) -> str:
    return f"{case.workers} worker{'' if case.workers == 1 else 's'}"
