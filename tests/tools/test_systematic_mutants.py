"""The systematic mutants: what is changed in a text, that each is a valid text, and that none is passed over."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from unittest import mock

import asyncpg
import pytest

from romancy.storage.backends import create_store
from romancy.storage.records import Outcome
from romancy.storage.url import parse_url
from romancy_conformance.contract.building import start
from romancy_conformance.contract.scripts import connect_to_postgres
from romancy_conformance.stores import migrated_file
from tools.mutations.systematic import reporting, seam, survivors
from tools.mutations.systematic.equivalents import EQUIVALENTS, class_of, matches, words_of
from tools.mutations.systematic.mutants import KINDS, mutants
from tools.mutations.systematic.reporting import Asked, chosen
from tools.mutations.systematic.seam import Heard
from tools.mutations.systematic.statements import DIALECTS, Listed, listed, texts
from tools.mutations.systematic.survivors import STATES, SURVIVORS, undecided

ADAPTERS = ("sqlite", "postgres", "mysql")
PRUNING = "conformance_tests/romancy_conformance/contract/test_prune.py"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def changed(sql: str, kind: str, **options: bool) -> list[str]:
    return [" ".join(each.text.split()) for each in mutants(sql, **options) if each.kind == kind]


def test_each_condition_of_a_list_is_dropped() -> None:
    assert changed("select 1 from t where a = 1 and b like 'x and y' order by c", "conjunct") == [
        "select 1 from t where (a = 1 or true) and b like 'x and y' order by c",
        "select 1 from t where a = 1 and (b like 'x and y' or true) order by c",
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "delete from t where {}",
        "select 1 from t join u on {} where true",
        "select count(*) filter (where {}) from t",
        "select a from t group by a having {} limit 1",
        "select case when {} then 1 else 2 end from t",
        "select if({}, 1, 2) from t",
        "insert into t values (1) on conflict (a) do update set b = 2 where {}",
        "with x as (select 1 from t where {} for update) select 1 from x",
        "update t set a = 1 where {} :further",
        "update t set a = 1 where {} returning a",
    ],
)
def test_a_lone_condition_is_dropped(sql: str) -> None:
    assert changed(sql.format("a = 1"), "conjunct") == [" ".join(sql.format("(a = 1 or true)").split())]


def test_what_is_no_condition_stays() -> None:
    sql = "select distinct on (a) a, case b when 1 then 2 end, c is not distinct from d from t cross join u on true"

    assert changed(sql, "conjunct") == []


def test_keys_of_a_distinct_on_stay_as_they_are_in_its_order() -> None:
    sql = "select distinct on (case when a then b end) c from t where d order by case when a then b end"

    assert changed(sql, "conjunct") == [sql.replace("where d", "where (d or true)")]
    assert changed(sql, "order") == [sql.partition(" order")[0]]


def test_alternatives_are_dropped_one_by_one() -> None:
    assert changed("select 1 from t where a and (b or c and d)", "alternative") == [
        "select 1 from t where a and ((b and false) or c and d)",
        "select 1 from t where a and (b or (c and d and false))",
    ]
    assert changed("select 1 from t where a and (b or c and d)", "conjunct") == [
        "select 1 from t where (a or true) and (b or c and d)",
        "select 1 from t where a and ((b or c and d) or true)",
        "select 1 from t where a and (b or (c or true) and d)",
        "select 1 from t where a and (b or c and (d or true))",
    ]


def test_alternatives_that_are_the_whole_condition_are_dropped_together_too() -> None:
    assert changed("select 1 from t where a or b", "conjunct") == ["select 1 from t where (a or b or true)"]


def test_the_and_of_a_between_parts_nothing() -> None:
    assert changed("select 1 from t where a between 1 and 2 and b", "conjunct") == [
        "select 1 from t where (a between 1 and 2 or true) and b",
        "select 1 from t where a between 1 and 2 and (b or true)",
    ]


def test_a_condition_inside_a_condition_is_dropped_alone_and_with_it() -> None:
    assert changed("delete from t where not exists (select 1 from u where u.a = t.a)", "conjunct") == [
        "delete from t where (not exists (select 1 from u where u.a = t.a) or true)",
        "delete from t where not exists (select 1 from u where (u.a = t.a or true))",
    ]


def test_comparisons_are_moved_by_one() -> None:
    sql = "select a <@ b, a <> b, a->'$.x', a < b, a >= b from t where c between :low and :high"

    assert [sql.replace("< b", "<= b", 1), sql.replace(">= b", "> b")] == changed(sql, "comparison")[:2]
    assert [sql.replace(":low", ":low + 1"), sql.replace(":high", ":high - 1")] == changed(sql, "comparison")[2:]


def test_orders_are_dropped() -> None:
    sql = "select array_agg(a order by b, c), row_number() over (partition by a order by b rows 1 preceding) from t"

    assert changed(sql, "order") == [
        sql.replace("order by b, c", ""),
        " ".join(sql.replace("order by b rows", "rows").split()),
    ]
    assert changed("select a from t order by (select b from u limit 1) desc limit 2", "order") == [
        "select a from t limit 2"
    ]


def test_limits_are_dropped_and_keep_their_parameters() -> None:
    assert changed("select 1 from t limit $4::bigint offset 2", "limit") == [
        "select 1 from t limit ($4::bigint) + 1000000000 offset 2"
    ]
    assert changed("(select 1 from t limit :limit for update)", "limit", literal_limits=True) == [
        "(select 1 from t limit 1000000000 for update)"
    ]
    assert changed("select 1 from t order by a fetch first (2) rows with ties", "limit") == [
        "select 1 from t order by a fetch first ((2) + 1000000000) rows with ties"
    ]
    assert changed("select 1 from t limit 1000000", "limit") == [], "it limits nothing"


def test_locks_are_dropped_and_what_passes_over_locked_rows() -> None:
    sql = "select 1 from t, u where a limit 1 for no key update of t, u skip locked"

    assert changed(sql, "lock") == ["select 1 from t, u where a limit 1"]
    assert changed(sql, "skip") == ["select 1 from t, u where a limit 1 for no key update of t, u"]


def test_what_is_done_about_rows_that_exist_is_dropped() -> None:
    assert changed("insert into t values (1) on conflict (a) do nothing returning a", "upsert") == [
        "insert into t values (1) returning a"
    ]
    assert changed("insert or ignore into t values (1)", "upsert") == ["insert into t values (1)"]
    assert changed("insert into t values (1) on duplicate key update a = t.a", "upsert") == ["insert into t values (1)"]


def test_brackets_that_do_not_match_are_an_error() -> None:
    for sql in ("select (1", "select 1)", "select case when a then 1"):
        with pytest.raises(ValueError, match=r"opens|closes"):
            mutants(sql)


@pytest.mark.parametrize("dialect", ADAPTERS)
def test_every_kind_and_nearly_every_statement_with_a_condition_is_tried(dialect: str) -> None:
    found = listed(dialect)
    tried = {one.statement for one in found if one.kind == "conjunct"}
    kinds = KINDS.keys() - ({"lock", "skip"} if dialect == "sqlite" else set())

    assert {one.kind for one in found} == kinds
    assert [
        name
        for name, text in texts(dialect).items()
        if re.search(r"\bwhere\b(?! false| true)", text) and name not in tried
    ] == []


def test_every_mutant_of_sqlite_compiles(tmp_path: Path) -> None:
    path = tmp_path / "romancy.db"
    path.write_bytes(migrated_file())
    refused: dict[str, str] = {}
    with closing(sqlite3.connect(path)) as connection:
        for one in listed("sqlite"):
            sql = one.text.format(rows="(" + "null," * 19 + "null)", columns="1", conditions="true", page="")
            if sql.startswith("exists"):  # a condition of a search
                sql = f"select 1 from romancy_instances i where {sql}"  # noqa: S608 - of the tree
            values = dict.fromkeys(re.findall(r":([a-z]\w*)", sql)) or [None] * sql.count("?")
            try:
                connection.execute(f"explain {sql}", values)
            except sqlite3.Error as error:
                refused[one.label] = str(error)

    assert refused == {}


@pytest.mark.anyio
@pytest.mark.backends("postgres")
async def test_every_mutant_of_postgres_can_be_prepared(storage_url: str) -> None:
    """But for those of searches, which are templates."""
    connection = await connect_to_postgres(parse_url(storage_url))
    refused: dict[str, str] = {}
    for one in listed("postgres"):
        if not re.search(r"\{\w+\}", one.text):
            try:
                await connection.prepare(one.text)
            except asyncpg.PostgresError as error:
                refused[one.label] = str(error)
    await connection.close()

    assert refused == {}


@pytest.mark.anyio
async def test_what_a_session_sends_is_heard_too(tmp_path: Path) -> None:
    path = tmp_path / "romancy.db"
    path.write_bytes(migrated_file())
    seam.install()
    try:
        store = create_store(f"sqlite:///{path}")
        await store.open()
        Heard.names.clear()
        async with store.services.sessions.begin() as session:
            assert await session.commit(start(), worker="w") is Outcome.ACCEPTED
        await store.close()
    finally:
        mock.patch.stopall()

    assert "renew" in Heard.names


def test_a_sample_is_the_same_each_time_and_words_choose() -> None:
    asked = Asked(sample=7, words=("claimed", "order"))

    assert chosen(asked, "sqlite") == chosen(asked, "sqlite")
    assert len(chosen(asked, "sqlite")) == 7
    assert all(one.statement == "claimed" or one.kind == "order" for one in chosen(asked, "sqlite"))


def test_every_member_of_a_class_is_a_mutant() -> None:
    """What is no mutant any more is no equivalent either."""
    found = [one for dialect in DIALECTS for one in listed(dialect)]

    for one in EQUIVALENTS:
        for member in one.members:
            assert any(one._replace(members=(member,)).has(each) for each in found), f"{one.name}: {member}"


def test_what_an_index_orders_has_the_same_plan_without_the_clause(tmp_path: Path) -> None:
    path = tmp_path / "romancy.db"
    path.write_bytes(migrated_file())
    right = texts("sqlite")
    ordered = [one for one in listed("sqlite") if (found := class_of(one)) and found.name == "order of an index"]
    with closing(sqlite3.connect(path)) as connection:

        def plan(sql: str) -> list[str]:
            values = dict.fromkeys(re.findall(r":([a-z]\w*)", sql)) or [None] * sql.count("?")
            return [row[3] for row in connection.execute(f"explain query plan {sql}", values)]

        assert [one.label for one in ordered if plan(one.text) != plan(right[one.statement])] == []
    assert ordered


@pytest.mark.parametrize("dialect", ADAPTERS)
def test_at_most_a_tenth_is_equivalent(dialect: str) -> None:
    found = listed(dialect)

    assert sum(any(one.has(each) for one in EQUIVALENTS) for each in found) <= len(found) / 10


def test_every_survivor_is_a_mutant_and_no_equivalent() -> None:
    found = [one for dialect in DIALECTS for one in listed(dialect)]

    for member in SURVIVORS:
        named = [one for one in found if matches(one, member)]
        assert named, member
        assert [one.label for one in named if class_of(one)] == []


def test_what_is_undecided_has_a_state_and_is_named_once() -> None:
    lines = (Path(survivors.__file__).with_name("undecided.txt")).read_text(encoding="utf-8").splitlines()
    found = {words_of(one): one for dialect in ADAPTERS for one in listed(dialect)}

    assert len(undecided()) == len(lines)
    assert set(undecided().values()) <= set(STATES)
    assert [words for words in undecided() if words in found and class_of(found[words])] == []
    assert not any(words.startswith("sqlite ") for words in undecided())


def planted(monkeypatch: pytest.MonkeyPatch, statements: dict[str, str]) -> None:
    """Let a run try these texts and no others."""
    found = [Listed("sqlite", name, "conjunct", name, text, 1) for name, text in statements.items()]

    def chosen_here(asked: Asked, dialect: str) -> list[Listed]:
        return found

    monkeypatch.setattr(reporting, "chosen", chosen_here)


@pytest.mark.long
def test_what_no_test_notices_is_reported_and_what_is_no_sql_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = texts("sqlite")
    statements = {
        "prune_workers": right["prune_workers"] + " and true",
        "prune_log": right["prune_log"] + " or true",
        "prune_inbox": right["prune_inbox"] + " where",
        "find_by_values": right["find_by_values"],
    }
    planted(monkeypatch, statements)

    assert reporting.run(Asked(dialects=("sqlite",), tests=(PRUNING,))) == 1

    said = capsys.readouterr().out
    assert "survived sqlite prune_workers 1" in said
    assert "broken   sqlite prune_inbox 1" in said
    assert "unused   sqlite find_by_values 1" in said
    assert "sqlite prune_log" not in said
    assert "mutants: 4; " in said
    assert "1 killed" in said


@pytest.mark.long
def test_what_was_known_to_survive_is_no_fault_until_a_test_notices_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = texts("sqlite")
    planted(
        monkeypatch,
        {"prune_workers": right["prune_workers"] + " and true", "prune_log": right["prune_log"] + " or true"},
    )
    asked = Asked(dialects=("sqlite",), tests=(PRUNING,))

    monkeypatch.setattr(survivors, "SURVIVORS", ("sqlite prune_workers conjunct *",))
    assert reporting.run(asked) == 0
    assert "1 known" in capsys.readouterr().out

    monkeypatch.setattr(survivors, "SURVIVORS", ("sqlite prune_* conjunct *",))
    assert reporting.run(asked) == 1
    assert "noticed  sqlite prune_log 1" in capsys.readouterr().out


@pytest.mark.long
def test_a_run_says_how_many_it_left_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    right = texts("sqlite")
    planted(monkeypatch, {name: right[name] + " or true" for name in ("prune_workers", "prune_log", "prune_inbox")})
    monkeypatch.setattr(survivors, "SURVIVORS", ("sqlite prune_log conjunct *",))

    assert reporting.run(Asked(dialects=("sqlite",), tests=(PRUNING,), minutes=0)) == 0
    said = capsys.readouterr().out
    assert "1 known" in said
    assert "2 were left out: the time was up" in said
