"""The other process: it reads one job on each line, imports the workflow's module, and answers with one line."""

from __future__ import annotations

import importlib
import sys
from typing import Any, cast

import msgspec

from romancy.entity_calls import entity_of
from romancy.registry import ENTITY
from romancy.workflow import Workflow
from romancy_conformance.replaying.jobs import Answer, Job, again, source_of


def found(job: Job) -> Workflow[..., Any] | None:
    """Return the workflow as its module declares it here."""
    thing: Any = importlib.import_module(job.module)
    for name in job.qualname.split("."):
        thing = getattr(thing, name, None)
    if isinstance(thing, type) and ENTITY in vars(thing):
        thing = entity_of(thing).workflow
    if not isinstance(thing, Workflow):
        return None
    declared = cast("Workflow[..., Any]", thing)
    return declared if (declared.name, source_of(declared)) == (job.workflow, job.source) else None


def answer(job: Job) -> Answer:
    """Return the answer to one job; any failure is an answer too."""
    try:
        definition = found(job)
    except Exception as error:  # noqa: BLE001 - a module may raise anything
        return Answer(unknown=f"its module cannot be imported elsewhere ({type(error).__name__})")
    if definition is None:
        return Answer(unknown="its module declares it while the test runs")
    try:
        return again(definition, job)
    except Exception as error:  # noqa: BLE001 - a finding, told to the test
        return Answer(f"its replay raised {type(error).__name__}: {error}")


def main() -> None:
    answers, sys.stdout = sys.stdout.buffer, sys.stderr  # what a module prints is no answer
    for line in sys.stdin.buffer:
        answers.write(msgspec.json.encode(answer(msgspec.json.decode(line, type=Job))) + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
