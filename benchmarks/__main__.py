"""`python -m benchmarks`: Romancy beside the floor of its databases and beside other libraries.

Without arguments it measures the core table, within 15 minutes on two cores once the environments are made. It writes
`results.json`, tables and charts, and prints each measurement. An interrupted run continues if commit and sizes are the
same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks import charts, page
from benchmarks.contestants import BUILD, CONTESTANTS
from benchmarks.databases import STORES
from benchmarks.results import Results
from benchmarks.runs import run
from benchmarks.scenarios import SCENARIOS

CORE_MINUTES: Final = 14.0
"""The core table ends within a quarter of an hour. On a slow machine, the later cases then have fewer rounds."""


def main() -> None:
    """Measure and write."""
    chosen = _parser().parse_args()
    names = chosen.scenario or [name for name, one in SCENARIOS.items() if one.CORE or chosen.all]
    who = chosen.who or [name for name, one in CONTESTANTS.items() if one.core or chosen.all]
    path: Path = chosen.into / "results.json"
    results = Results.read(path) if path.exists() else Results()
    if chosen.anew:
        results = Results()
    minutes = chosen.minutes
    if minutes is None and not (chosen.all or chosen.scenario):
        minutes = CORE_MINUTES
    if not chosen.report:
        for name in names:
            results.begin(name, {size: getattr(chosen, size) for size in SCENARIOS[name].SIZES})
        with tempfile.TemporaryDirectory(dir=chosen.disk) as folder:
            run(
                {name: SCENARIOS[name] for name in names}, results, path,
                who=who, databases=chosen.database or STORES, rounds=chosen.rounds, folder=Path(folder),
                minutes=minutes, keep=chosen.keep,
            )  # fmt: skip
    text = page.measured(results, SCENARIOS)
    charts.write(results, chosen.into)
    if chosen.page is None:
        (chosen.into / "tables.md").write_text(text + "\n", encoding="utf-8")
    else:
        chosen.page.write_text(page.with_figures(chosen.page.read_text("utf-8"), text), encoding="utf-8")
    print(text)
    print(f"\nresults, tables and charts are in {chosen.into}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="every scenario and every peer, not the core table alone")
    parser.add_argument("--anew", action="store_true", help="forget what an interrupted run has measured")
    parser.add_argument("--keep", action="store_true", help="keep other scenarios that another commit has measured")
    parser.add_argument("--report", action="store_true", help="measure nothing; write tables and charts again")
    parser.add_argument("--rounds", type=int, default=3, help="rounds in which all take turns (default 3)")
    parser.add_argument(
        "--minutes", type=float, help="begin no measurement after so many (default: 14 for the core table, or no limit)"
    )
    parser.add_argument("--into", type=Path, default=BUILD / "results", help="folder of results, tables and charts")
    parser.add_argument("--page", type=Path, help="write the tables into this page, between its marks")
    parser.add_argument("--disk", type=Path, help="folder on the disk to be measured (default: the temporary one)")
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="this one alone; may be repeated")
    parser.add_argument("--who", action="append", choices=CONTESTANTS, help="this one alone; may be repeated")
    parser.add_argument("--database", action="append", choices=STORES, help="this one alone; may be repeated")
    for name, one in SCENARIOS.items():
        group = parser.add_argument_group(f"{name}: {(one.__doc__ or '').splitlines()[0].rstrip('.')}")
        for size, default in one.SIZES.items():
            group.add_argument(f"--{size.replace('_', '-')}", type=int, default=default, help=f"default {default:,}")
    return parser


if __name__ == "__main__":
    main()
