"""Chaos from a shell; it ends with 1 when anything was found. The seeds it prints play the same rounds again."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

from romancy_conformance.chaos.faults import FAULTS, File, Served
from romancy_conformance.chaos.programs import FEATURES, UNUSUAL
from romancy_conformance.chaos.rounds import WAYS, Plan, Round, Told
from romancy_conformance.chaos.shapes.catalogue import SHAPES, drawn
from romancy_conformance.chaos.workers import ByTurns, Makes, Nursery, put_tree
from romancy_conformance.proxy import Proxy

_ALL = FEATURES | FAULTS | WAYS


def shapes(text: str) -> frozenset[str]:
    """Return the shapes in a comma-separated list."""
    names = frozenset(filter(None, text.split(",")))
    if unknown := names - SHAPES.keys():
        raise argparse.ArgumentTypeError(
            f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(sorted(SHAPES))}"
        )
    return names


def features(text: str) -> frozenset[str]:
    """Return the features in a comma-separated list."""
    names = frozenset(filter(None, text.split(",")))
    if unknown := names - _ALL:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(sorted(_ALL))}")
    return names


async def play(options: argparse.Namespace, served: Served | None, folder: Path) -> list[Told]:
    """Play all rounds, one after another."""
    told: list[Told] = []
    async with AsyncExitStack() as stack:
        nursery: Makes = await stack.enter_async_context(Nursery())
        if options.beside:
            tree = await asyncio.to_thread(put_tree, options.beside, folder / "beside")
            other = await stack.enter_async_context(Nursery(tree))
            if (runs := await other.tree()) != tree:
                raise SystemExit(f"{options.beside}: its workers cannot run these programs, or would run {runs}")
            nursery = ByTurns((nursery, other))
        for number in range(options.first, options.first + options.rounds):
            seed = f"{options.seed}-{number}"
            place = folder / seed
            place.mkdir(parents=True)
            url = f"sqlite:///{place / 'chaos.db'}"
            database: Served | File | None = File(place / "chaos.db")
            if options.url:
                url, database = options.url, None
            elif served is not None:
                url, database = await asyncio.to_thread(served.server.fresh_database), served
            shown, without = drawn(seed, options.shapes, options.without | (UNUSUAL - options.unusual))
            asked = Plan(
                seed=seed,
                programs=options.programs,
                seconds=options.seconds,
                workers=options.workers,
                lease=options.lease,
                patience=options.patience,
                kills=options.kills,
                without=without,
                shapes=shown,
                instances=options.instances,
            )
            one = await asyncio.to_thread(
                Round, asked, url, place, nursery, database
            )  # the oracle runs its own event loops
            told.append(await one.play())
            print(f"{url.partition(':')[0]} {seed}: {told[-1]}", flush=True)
            for finding in told[-1].findings:
                print(f"  {finding}", flush=True)
            for program in sorted({one.describe(finding.instance) for finding in told[-1].findings}):
                print(f"    {program}", flush=True)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(prog="romancy_conformance.chaos", description=__doc__)
    parser.add_argument(
        "--backend", choices=("sqlite", "postgres", "mysql", "mariadb", "tidb", "vitess"), default="sqlite"
    )
    parser.add_argument("--url", help="an empty database, for one round; its server is let alone")
    parser.add_argument("--seed", default=secrets.token_hex(3), help="any word; the same word plays the same rounds")
    parser.add_argument("--first", type=int, default=1, help="the number of the first round")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--programs", type=int, default=30, help="in each round")
    parser.add_argument("--shapes", type=shapes, default=frozenset(SHAPES), help="of: " + ", ".join(SHAPES))
    parser.add_argument("--instances", type=int, default=120, help="of the shapes, in each round")
    parser.add_argument("--seconds", type=float, default=12.0, help="how long the faults of a round last")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--lease", type=float, default=3.0)
    parser.add_argument("--patience", type=float, default=90.0, help="seconds without progress that are too many")
    parser.add_argument("--kills", type=int, help="at most so many workers are killed in a round")
    parser.add_argument("--without", type=features, default=frozenset(), help="operations, endings, ways, faults")
    parser.add_argument("--with", dest="unusual", type=features, default=frozenset(), help="of: " + ", ".join(UNUSUAL))
    parser.add_argument("--beside", metavar="TREE", help="every other worker runs this source tree: a folder or commit")
    parser.add_argument("--keep", type=Path, help="a folder for databases and the logs of workers")
    options = parser.parse_args()
    with ExitStack() as stack:
        served = None
        if options.backend != "sqlite" and not options.url:
            from romancy_conformance.servers import private_server  # noqa: PLC0415 - it is not in the wheel

            server = private_server(options.backend)
            stack.callback(server.close)
            server.start()
            served = Served(server, stack.enter_context(Proxy("127.0.0.1", server.port)))
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        told = asyncio.run(play(options, served, folder))
    programs, kills = sum(each.programs for each in told), sum(each.kills for each in told)
    instances, seconds = sum(each.instances for each in told), sum(each.seconds for each in told)
    findings = [finding for each in told for finding in each.findings]
    print(f"{programs} programs, {instances} instances, {kills} kills, {seconds:.0f} s, {len(findings)} findings")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
