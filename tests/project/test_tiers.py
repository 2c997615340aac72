"""The tiers contain every test once; the short one tries every promise that is not long in itself."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tools.tiers import ABOUT_DATABASES, CONTRACT, DEALT, FRONTS, LONG_FOLDERS, STORES, Case, Part, Tiers
from tools.tiers import deal as deal_on

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE = "conformance_tests/romancy_conformance/behaviour/test_some.py"
FAULTS = "conformance_tests/romancy_conformance/behaviour/faults/test_some.py"


def deal(cases: Iterable[Case], day: int = 0) -> Tiers:
    """Deal on a day that changes nothing of most tests."""
    return deal_on(cases, day)


def on_every_store(
    test: str, *, marked: bool = False, dealt: bool = False, among: tuple[str, ...] = STORES
) -> list[Case]:
    """Return the same test on each."""
    stores = ("memory", *STORES)
    return [Case(test.format(store), store, marked=marked, dealt=dealt, among=among) for store in stores]


def test_every_test_of_this_run_is_in_one_tier(pytestconfig: pytest.Config) -> None:
    """It covers the whole suite when it runs as a part of it."""
    dealt = pytestconfig.stash[DEALT]
    all_of_them = {case.nodeid for case in dealt.cases}

    assert all_of_them == dealt.short | dealt.long | dealt.siblings | dealt.engines
    assert len(all_of_them) == len(dealt.short) + len(dealt.long) + len(dealt.siblings) + len(dealt.engines)
    assert len(all_of_them) == len(dealt.cases)


def test_every_test_of_this_run_that_is_not_long_is_in_the_short_tier_once(pytestconfig: pytest.Config) -> None:
    dealt = pytestconfig.stash[DEALT]
    wanted = {case.name for case in dealt.cases if not case.long and not case.engine}
    tried = {case.name for case in dealt.cases if case.nodeid in dealt.short}

    assert wanted == tried


def test_the_contract_is_short_on_one_of_the_servers_and_long_on_the_others_by_turns() -> None:
    tests = [on_every_store(f"{CONTRACT}test_log.py::test_keys[{{}}-{number}]") for number in range(200)]
    cases = [case for some in tests for case in some]

    dealt, next_day = (deal(cases, day) for day in (20_783, 20_784))

    turns = Counter(case.backend for case in dealt.cases if case.nodeid in dealt.short)
    servers = [turns[store] for store in ("postgres", "mysql", "mariadb")]
    assert turns["memory"] == turns["sqlite"] == sum(servers) == 200
    assert turns["postgres"] > 70
    assert min(servers) > 35
    assert {case.nodeid for case in cases} == dealt.short | dealt.long | next_day.long
    assert len(dealt.long) == len(next_day.long) == 200
    assert not dealt.long & next_day.long


def test_the_contract_is_short_on_the_only_server_of_a_run() -> None:
    (case,) = deal([Case(CONTRACT + "test_log.py::test_keys[mariadb]", "mariadb")]).cases

    assert deal([case]).short == {case.nodeid}


@pytest.mark.parametrize("file", [FILE, CONTRACT + "test_opening.py"])
def test_what_is_dealt_is_short_on_one_database_and_long_on_the_other_adapters_by_turns(file: str) -> None:
    tests = [
        on_every_store(f"{file}::test_some[{{}}-a-{number}]", dealt=file.startswith(CONTRACT)) for number in range(50)
    ]
    adapters = {"sqlite": "sqlite", "postgres": "postgres", "mysql": "mysql", "mariadb": "mysql"}

    for cases in tests:
        adapter = {case.nodeid: adapters.get(str(case.backend), "") for case in cases}
        days = [deal(cases, day) for day in range(20_783, 20_791)]

        (nodeid,) = days[0].short
        assert all(dealt.short == days[0].short for dealt in days)
        longs = [{adapter[one] for one in dealt.long} - {""} for dealt in days]
        assert [0, 0, 0, 0, 0, 0, 1, 1] == sorted(len(each) for each in longs)
        assert {"sqlite", "postgres", "mysql"} == {adapter[nodeid]}.union(*longs)


def test_memory_has_an_eighth_of_the_tests_a_day_and_all_in_eight() -> None:
    tests = [on_every_store(f"{FILE}::test_some[{{}}-{number}]") for number in range(200)]
    cases = [case for some in tests for case in some]
    memory = {case.nodeid for case in cases if case.backend == "memory"}

    days = [deal(cases, day).long & memory for day in range(20_783, 20_791)]

    assert all(10 < len(chosen) < 40 for chosen in days)
    assert memory == set().union(*days)


def test_memory_alone_has_its_tests_every_day() -> None:
    cases = [Case(f"{FILE}::test_some[{store}]", store) for store in ("memory", "postgres")]

    assert all(deal(cases, day).long == {cases[0].nodeid} for day in range(4))


def test_the_databases_take_turns_and_a_test_stays_where_it_is() -> None:
    cases = [case for number in range(400) for case in on_every_store(f"{FILE}::test_some[{{}}-{number}]")]

    dealt = deal(cases)

    turns = Counter(case.backend for case in cases if case.nodeid in dealt.short)
    assert sum(turns.values()) == 400
    assert all(turns[store] > 100 for store in ("sqlite", "postgres"))
    assert all(turns[store] > 45 for store in ("mysql", "mariadb"))
    assert all(deal(cases[at : at + 5]).short <= dealt.short for at in range(0, len(cases), 5))


def test_a_test_of_one_adapter_is_tried_on_both_of_its_databases() -> None:
    dealt = deal([Case(f"{FILE}::test_some[{store}]", store) for store in ("mysql", "mariadb")])

    assert (1, 1, 0) == (len(dealt.short), len(dealt.long), len(dealt.siblings))


def test_the_engines_have_a_tier_of_their_own() -> None:
    cases = [Case("tests/engines/test_some.py::test_some"), Case("tests/engines/a/test_b.py::test_c", marked=True)]

    dealt = deal(cases)

    assert dealt.engines == {case.nodeid for case in cases}
    assert not dealt.short | dealt.long | dealt.siblings


def test_a_mark_names_the_databases_that_take_turns() -> None:
    among = ("postgres", "mariadb")
    tests = [on_every_store(f"{FILE}::test_some[{{}}-{number}]", dealt=True, among=among) for number in range(50)]

    dealt = deal(case for cases in tests for case in cases)

    assert set(among) == {case.backend for case in dealt.cases if case.nodeid in dealt.short}


@pytest.mark.parametrize("store", ["memory", "postgres", "none"])
def test_a_test_of_one_database_is_short_there(store: str) -> None:
    assert len(deal([Case(f"{FILE}::test_some[{store}]", store)]).short) == 1


@pytest.mark.parametrize(
    "cases",
    [on_every_store(f"{FILE}::test_some[{{}}]", marked=True)]
    + [on_every_store(f"{folder}test_some.py::test_some[{{}}]") for folder in LONG_FOLDERS],
    ids=["marked", *(folder.rstrip("/").rpartition("/")[2] for folder in LONG_FOLDERS)],
)
def test_what_is_long_is_long_on_every_database(cases: list[Case]) -> None:
    assert not deal(cases).short


@pytest.mark.parametrize("file", [FAULTS, f"{CONTRACT}test_some.py"], ids=["faults", "contract"])
def test_what_is_long_is_on_one_database_a_day_and_on_each_in_four(file: str) -> None:
    tests = [on_every_store(f"{file}::test_some[{{}}-{number}]", marked=True) for number in range(50)]
    cases = [case for some in tests for case in some if case.backend != "memory"]
    in_memory = {case.nodeid for some in tests for case in some if case.backend == "memory"}

    days = [deal((case for some in tests for case in some), day) for day in range(20_783, 20_791)]

    for dealt in days[:4]:
        turns = Counter(case.backend for case in cases if case.nodeid in dealt.long)
        assert sum(turns.values()) == 50
        assert min(turns.values()) > 3
        assert not dealt.short
    assert {case.nodeid for case in cases} == set().union(*(dealt.long for dealt in days[:4])) - in_memory
    assert in_memory <= set().union(*(dealt.long for dealt in days))


@pytest.mark.parametrize("stores", [["mariadb"], ["mysql", "mariadb"], ["memory"]])
def test_what_is_long_on_few_databases_takes_turns_on_them(stores: list[str]) -> None:
    cases = [Case(f"{FAULTS}::test_some[{store}]", store, marked=True) for store in stores]

    days = [deal(cases, day).long for day in range(2)]

    assert all(len(chosen) == 1 for chosen in days)
    assert {case.nodeid for case in cases} == days[0] | days[1]


@pytest.mark.parametrize("store", [None, "memory", "mysql"])
def test_what_takes_very_long_is_tried_on_one_day_of_four(store: str | None) -> None:
    cases = [Case(f"{FAULTS}::test_some[{number}]", store, marked=True, days=4) for number in range(40)]

    days = [deal(cases, day) for day in range(20_783, 20_787)]

    assert 40 == sum(len(dealt.long) for dealt in days) == len(set[str]().union(*(dealt.long for dealt in days)))
    assert all(len(dealt.long) + len(dealt.siblings) == 40 for dealt in days)


def test_what_takes_very_long_is_on_each_database_in_sixteen_days() -> None:
    cases = [case for case in on_every_store(f"{FAULTS}::test_some[{{}}]") if case.backend != "memory"]
    cases = [Case(case.nodeid, case.backend, marked=True, days=4) for case in cases]

    days = [deal(cases, day).long for day in range(20_783, 20_799)]

    assert [1] * 4 == [len(chosen) for chosen in days if chosen]
    assert {case.nodeid for case in cases} == set().union(*days)


@pytest.mark.parametrize("folder", FRONTS)
def test_a_front_is_tried_on_one_database_which_changes_if_it_is_long(folder: str) -> None:
    cases = on_every_store(f"{folder}test_some.py::test_some[{{}}]")
    marked = on_every_store(f"{folder}test_some.py::test_long[{{}}]", marked=True)

    days = [deal([*cases, *marked], day) for day in range(5)]

    assert {(1, 1, 8)} == {(len(dealt.short), len(dealt.long), len(dealt.siblings)) for dealt in days}
    assert 1 == len({dealt.short for dealt in days})
    assert {case.nodeid for case in marked} == set().union(*(dealt.long for dealt in days))


@pytest.mark.parametrize("file", ABOUT_DATABASES)
def test_what_is_about_databases_is_tried_on_each(file: str) -> None:
    cases = on_every_store(f"{file}::test_some[{{}}]")

    tried = set[str]().union(*(deal(cases, day).short | deal(cases, day).long for day in range(8)))

    assert {*STORES[:2]} <= {case.backend for case in cases if case.nodeid in tried}


def test_the_folders_of_the_rules_exist(pytestconfig: pytest.Config) -> None:
    assert all((pytestconfig.rootpath / folder).is_dir() for folder in (CONTRACT, *LONG_FOLDERS, *FRONTS))
    assert all((pytestconfig.rootpath / file).is_file() for file in ABOUT_DATABASES)


def test_the_parts_are_the_whole_and_about_equal() -> None:
    tests = [f"{FILE}::test_some[{number}]" for number in range(1_000)]

    one, two = ({test for test in tests if Part.parse(text).has(test)} for text in ("1/2", "2/2"))

    assert (set(tests), set()) == (one | two, one & two)
    assert 400 < len(one) < 600


@pytest.mark.parametrize("text", ["0/2", "3/2", "1/0"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no part"):
        Part.parse(text)
