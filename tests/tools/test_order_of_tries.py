"""Which test a mutant meets first, and which test noticed it in a former run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.mutations.systematic import killers
from tools.mutations.systematic.jobs import Line, Recorded, Trial
from tools.mutations.systematic.killers import Killers
from tools.mutations.systematic.ranking import Ranking
from tools.mutations.systematic.statements import Listed

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

TRIAL = Trial("sqlite due 1", "due", "conjunct", "")


def recorded(test: str, *others: str, seconds: float = 1.0) -> Recorded:
    return Recorded(test, seconds, "passed", ["due", *others], tapped=False)


def order(ranking: Ranking, *tests: Recorded, trial: Trial = TRIAL) -> list[str]:
    return [one.test for one in ranking.of(trial, tests)]


def test_a_test_about_few_statements_comes_before_one_about_many_and_a_short_one_before_a_long_one() -> None:
    about, many = recorded("a.py::about"), recorded("a.py::many", "claimed", "taken")
    long = recorded("a.py::long", seconds=9.0)

    assert order(Ranking(), many, long, about) == ["a.py::about", "a.py::many", "a.py::long"]


def test_what_has_noticed_a_mutant_of_the_statement_comes_first_and_its_file_next() -> None:
    tests = [recorded(name) for name in ("b.py::one", "a.py::beside", "a.py::noticed")]
    ranking = Ranking([Line("sqlite due 2", "killed", "due", "a.py::noticed")])

    assert order(ranking, *tests) == ["a.py::noticed", "a.py::beside", "b.py::one"]


def test_what_has_noticed_nothing_falls_behind() -> None:
    ranking = Ranking()
    for _ in range(3):
        ranking.note("due", "a.py::vain", noticed=False)

    assert order(ranking, recorded("a.py::vain"), recorded("b.py::fresh")) == ["b.py::fresh", "a.py::vain"]


def test_the_test_of_a_former_run_comes_before_all() -> None:
    trial = Trial("sqlite due 1", "due", "conjunct", "", killer="a.py::slow")

    assert order(Ranking(), recorded("a.py::fast", seconds=0.1), recorded("a.py::slow"), trial=trial)[0] == "a.py::slow"


def test_who_noticed_a_mutant_is_remembered_for_the_same_place_in_other_databases(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(killers, "_FILE", tmp_path / "killers.jsonl")
    here, there, elsewhere = (
        Listed(dialect, name, "conjunct", "a = 1", "", 1)
        for dialect, name in (("sqlite", "due"), ("mysql", "due"), ("mysql", "taken"))
    )

    Killers().note(here, "a.py::test[sqlite-x]")

    noticed = [Killers().of(one) for one in (here, there, elsewhere)]
    assert noticed == ["a.py::test[sqlite-x]", "a.py::test[mysql-x]", ""]
