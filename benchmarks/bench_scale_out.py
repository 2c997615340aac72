"""One program on set-ups beyond one machine: a network between, standbys, clusters, poolers and engines.

`python -m benchmarks.bench_scale_out` measures PostgreSQL and MySQL as they are and behind a network whose round trip
takes 0.5, 2 and 5 ms. `--engines` measures standbys, clusters, poolers and other engines instead, beside plain servers.
They are the suite's, started for each measurement; without names it is all of them. Others are given by their URLs, of
empty databases:

    python -m benchmarks.bench_scale_out --engines
    python -m benchmarks.bench_scale_out --engines postgres citus --setup 'ours=postgresql://…'

All set-ups take turns, round by round. The tables give the median of the rounds: the steps a second of one workflow,
the milliseconds of a step, the steps a second of many workflows at once, and how many results were wrong.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from benchmarks.contestants import BUILD, CONTESTANTS
from benchmarks.databases import empty_database
from benchmarks.process import DriverError, Process
from benchmarks.several_servers import ENGINES
from benchmarks.wire import slow_wire
from romancy_conformance.servers import ServerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

ROUND_TRIPS: Final = (0.5, 2.0, 5.0)
STEPS: Final = 100
WORKFLOWS: Final = 500
AT_ONCE: Final = 500
PATIENCE: Final = 300.0


@dataclass
class SetUp:
    """A database in its surroundings."""

    name: str
    opened: Callable[[], AbstractContextManager[str]]
    """Yields the URL."""
    alone: list[float] = field(default_factory=list[float])
    together: list[float] = field(default_factory=list[float])
    wrong: int = 0
    failed: str = ""


def given(text: str) -> SetUp:
    """The set-up of `NAME=URL`."""
    name, equals, url = text.partition("=")
    if not (name and equals and "://" in url):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=URL, as in 'TiDB=tidb://root@127.0.0.1:4000/empty'")
    return SetUp(name, partial(_kept, url))


def plain(database: str) -> Iterable[SetUp]:
    """A server on this machine, as it is and behind networks."""
    yield SetUp(database, partial(empty_database, database))
    for milliseconds in ROUND_TRIPS:
        yield SetUp(f"{database}, {milliseconds} ms away", partial(_behind, database, milliseconds))


@contextmanager
def _kept(url: str) -> Generator[str]:
    yield url


@contextmanager
def _behind(database: str, milliseconds: float) -> Generator[str]:
    with empty_database(database) as near, slow_wire(near, milliseconds) as url:
        yield url


def measure(setup: SetUp) -> None:
    """Add one round to the figures of this set-up. One that failed is not tried again."""
    log = BUILD / "logs" / "scale-out.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with setup.opened() as url, Process(CONTESTANTS["romancy"].command(), url, log) as driver:
            for task, figures, sizes in (
                ("warm_up", None, {}),
                ("sequential", setup.alone, {"steps": STEPS}),
                ("together", setup.together, {"workflows": WORKFLOWS, "at_once": AT_ONCE}),
            ):
                answer = driver.do(task, patience=PATIENCE, **sizes)
                setup.wrong += answer.get("wrong", 0)
                if figures is not None:
                    figures.append(answer["count"] / answer["seconds"])
    except DriverError as error:
        setup.failed = f"{error} ({log})"
    except ServerUnavailableError as error:
        setup.failed = str(error).splitlines()[0]


def table(setups: Iterable[SetUp]) -> str:
    """The medians as Markdown."""
    lines = [
        f"| set-up | one after another, steps/s | ms a step | {AT_ONCE} at once, steps/s | wrong |",
        "|---|--:|--:|--:|--:|",
    ]
    for one in setups:
        if one.failed or not one.together:
            lines.append(f"| {one.name} | {one.failed or 'not measured'} | | | |")
            continue
        alone, together = statistics.median(one.alone), statistics.median(one.together)
        lines.append(f"| {one.name} | {alone:,.0f} | {1000 / alone:.2f} | {together:,.0f} | {one.wrong} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setup", action="append", type=given, default=[], metavar="NAME=URL", help="one more set-up")
    parser.add_argument("--plain", action="append", choices=("postgres", "mysql", "mariadb"), help="only these servers")
    parser.add_argument("--engines", nargs="*", choices=ENGINES, metavar="NAME", help=f"of {', '.join(ENGINES)}")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    CONTESTANTS["romancy"].ready()
    servers = chosen.plain or (("postgres", "mysql") if chosen.engines is None else ())
    setups = [one for name in servers for one in plain(name)]
    if chosen.engines is not None:
        setups += [SetUp(*ENGINES[name]) for name in chosen.engines or ENGINES]
    setups += chosen.setup
    for number in range(1, chosen.rounds + 1):
        for setup in setups:
            if not setup.failed:
                measure(setup)
            print(f"round {number}: {setup.name} {setup.failed}", file=sys.stderr, flush=True)
    print(table(setups))


if __name__ == "__main__":
    main()
