"""The benchmarks of the tree: their page says what was measured, and their drivers count what is wrong."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import charts, contestants, page, tables, targets
from benchmarks.contestants import CONTESTANTS, Contestant, MissingError, interpreter
from benchmarks.process import TREE, DriverError, Process
from benchmarks.queues import jobs
from benchmarks.queues.queue_driver import INSIDE
from benchmarks.results import Case, Figure, Measured, Results
from benchmarks.scenarios import SCENARIOS
from romancy_conformance.servers import ServerUnavailableError

SEQUENTIAL = Case("sequential", "sqlite", "romancy")
PEER = Case("sequential", "sqlite", "dbos")


def measured() -> Results:
    """Return a run of two contestants in three rounds."""
    rounds = [
        Measured(case, number, [Figure("steps", rate * number), Figure("share of the floor", 79.0, "%")], wrong)
        for number in (1, 2, 3)
        for case, rate, wrong in ((SEQUENTIAL, 1000.0, 0), (PEER, 50.0, 2))
    ]
    return Results(commit="c", sizes={"sequential_steps": 50}, measured=rounds)


@pytest.mark.parametrize("name", ["benchmarks.md", "benchmarks-all.md"])
def test_a_page_has_the_figures_of_its_committed_run(name: str) -> None:
    path = TREE / "docs" / name
    written = path.read_text("utf-8")
    results = Results.read(path.with_suffix("") / "results.json")

    assert page.with_figures(written, page.measured(results, SCENARIOS)) == written


def test_a_table_has_the_median_the_spread_and_what_was_wrong() -> None:
    text = tables.table(measured(), "sequential", "Steps")

    assert "| sqlite | Romancy | 2,000 (1,000 to 3,000) | 79.0 % (79.0 to 79.0) | 0 |" in text
    assert "| sqlite | DBOS Transact | 100 (50.0 to 150) | 79.0 % (79.0 to 79.0) | 6 |" in text


def test_a_target_is_reached_or_missed() -> None:
    text = targets.table(measured())

    assert "| sqlite, one after another, to DBOS Transact | 10 × | 20.0 × | reached |" in text
    assert "| sqlite, one after another, of the floor | 80 % | 79 % | **missed** |" in text


def test_a_target_that_is_no_whole_number_is_named_in_full() -> None:
    rates = {"romancy": 96.0, "unhinged": 100.0}
    rounds = [Measured(Case("sequential", "sqlite", who), 1, [Figure("steps", rate)]) for who, rate in rates.items()]

    assert "| sqlite, one after another, to Unhinged | 0.95 × | 0.96 × | reached |" in targets.table(
        Results(measured=rounds)
    )


def test_an_environment_is_made_with_a_python_that_is_new_enough() -> None:
    assert interpreter((3, 11)) == Path(sys.executable)
    with pytest.raises(MissingError, match=r"it needs Python 3\.99"):
        interpreter((3, 99))


def test_what_remains_in_worse_conditions_is_judged() -> None:
    rates = {"workers": {"1": 100.0, "8": 99.0}, "network": {"none: 500 at once": 100.0, "5.0 ms: 500 at once": 80.0}}
    cases = [
        Measured(Case(scenario, "mysql", "romancy"), 1, [Figure(what, rate) for what, rate in figures.items()])
        for scenario, figures in rates.items()
    ]
    growth = Measured(Case("growth", "mysql", "romancy"), 1, [Figure("last to first", 1.3, "×")])
    text = targets.table(Results(measured=[*cases, growth]))

    assert "| mysql, eight workers, to one | 100 % | 99 % | **missed** |" in text
    assert "| mysql, 500 at once, 5 ms away, to none | 80 % | 80 % | reached |" in text
    assert (
        "| mysql, a step at the end of 10,000, to one at the beginning | at most 1.2 × | 1.30 × | **missed** |" in text
    )


def test_a_lone_job_is_judged_by_that_of_celery() -> None:
    times = {"lone job, median": (6.0, 6.0), "lone job, 99th percentile": (9.5, 9.0)}
    rounds = [
        Measured(Case("queue", database, who), 1, [Figure(what, both[place], "ms") for what, both in times.items()])
        for place, (database, who) in enumerate((("postgres", "romancy"), ("redis", "celery")))
    ]
    text = targets.table(Results(measured=rounds))

    assert "| postgres, a queue, lone job, median, to Celery's | at most 6.00 ms | 6.00 ms | reached |" in text
    assert (
        "| postgres, a queue, lone job, 99th percentile, to Celery's | at most 9.00 ms | 9.50 ms | **missed** |" in text
    )


def test_a_database_that_a_scenario_leaves_out_has_no_line() -> None:
    results = Results(measured=[Measured(Case("idle", "sqlite", "romancy"), 1)])

    assert "| sqlite |" not in tables.table(results, "idle", "An idle process")


def test_other_sizes_forget_the_scenario_and_nothing_else() -> None:
    results = measured()
    results.measured.append(Measured(Case("latency", "sqlite", "romancy"), 1))
    results.begin("latency", {"latency_workflows": 50})
    assert [SEQUENTIAL, PEER] * 3 == [one.case for one in results.measured]

    results.begin("sequential", {"sequential_steps": 50})
    assert results.has(PEER, 3)
    results.begin("sequential", {"sequential_steps": 51})
    assert not results.measured


def test_other_scenarios_of_another_commit_can_be_kept() -> None:
    results = measured()
    results.measured.append(Measured(Case("latency", "sqlite", "romancy"), 1))
    results.keep_others("d", ["latency"])
    assert (results.commit, len(results.measured)) == ("c, and d for latency", 6)

    results.measured.append(Measured(Case("latency", "sqlite", "romancy"), 1))
    results.keep_others("d", ["latency"])
    assert (results.commit, len(results.measured)) == ("c, and d for latency", 7)


def test_a_case_that_failed_is_given_up() -> None:
    results = Results(measured=[Measured(PEER, 1, failed="no answer within 60 s")])

    assert results.gave_up(PEER)
    assert not results.gave_up(SEQUENTIAL)


def test_charts_are_pictures_for_light_and_dark_pages(tmp_path: Path) -> None:
    charts.write(measured(), tmp_path)

    assert {"sequential-light.svg", "sequential-dark.svg"} == {path.name for path in tmp_path.iterdir()}
    for path in tmp_path.iterdir():
        assert ET.parse(path).getroot().tag.endswith("svg")  # noqa: S314 - this tree wrote it


def test_every_scenario_names_contestants_and_has_its_own_sizes() -> None:
    sizes = [size for one in SCENARIOS.values() for size in one.SIZES]

    assert len(set(sizes)) == len(sizes)
    assert all(who in CONTESTANTS for one in SCENARIOS.values() for who in one.WHO)


def test_a_library_whose_server_is_not_to_be_had_is_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise ServerUnavailableError("no apt here")

    monkeypatch.setattr(contestants, "find_redis", nowhere)
    alone = Contestant("celery", "Celery", ("redis",), "benchmarks.queues.celery_queue", pinned=False)
    with pytest.raises(MissingError, match="Celery is left out: there is no Redis here: no apt here"):
        alone.ready()


def test_what_has_run_is_counted_by_the_process_that_enqueued_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def count() -> None:
        with jobs.Seen(tmp_path / "ran") as seen:
            seen.begin(3)
            assert [jobs.ran(number) for number in (0, 1, 2)] == [0, 1, 2]
            await seen.all(20)
            assert seen.wrong() == 0

            jobs.ran(1)
            assert seen.wrong() == 1

            seen.begin(2)
            jobs.ran(0)
            with pytest.raises(RuntimeError, match="1 of 2 jobs ran"):
                await seen.all(0.01)
            assert seen.wrong() == 1

    monkeypatch.setenv(jobs.PIPE, str(tmp_path / "ran"))
    jobs.pipe.cache_clear()
    asyncio.run(count())
    jobs.pipe.cache_clear()


@pytest.mark.long
def test_a_queue_runs_each_job_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.queues.romancy_queue"]
    with Process(command, f"sqlite:///{tmp_path / 'bench.sqlite'}", tmp_path / "log") as driver:
        has = driver.do("warm_up")
        assert (["free", "narrow", "keyed"], 0) == (has["kinds"], has["wrong"])
        for kind in has["kinds"]:
            assert driver.do("burst", jobs=40, kind=kind)["wrong"] == 0
            assert driver.do("lone", jobs=2, kind=kind)["wrong"] == 0
        assert driver.do("burst", jobs=40, kind="free", bulk=True)["wrong"] == 0
        assert len(driver.do("lone_results", jobs=2)["took"]) == 2
    inside = {INSIDE: "1"}
    with Process(command, f"sqlite:///{tmp_path / 'inside.sqlite'}", tmp_path / "log", env=inside) as driver:
        assert driver.do("warm_up")["wrong"] == 0


@pytest.mark.long
def test_a_driver_does_tasks_and_ends(tmp_path: Path) -> None:
    command = CONTESTANTS["romancy"].command()
    with Process(command, f"sqlite:///{tmp_path / 'bench.sqlite'}", tmp_path / "log") as driver:
        answer = driver.do("together", workflows=20, at_once=5)
        assert (100, 0) == (answer["count"], answer["wrong"])
        with pytest.raises(DriverError, match="unexpected keyword argument"):
            driver.do("together", workflow=20)
        assert driver.do("latency", workflows=3)["wrong"] == 0
