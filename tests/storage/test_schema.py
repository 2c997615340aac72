"""Whether a program may use a database: a comparison of the migrations of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from romancy.errors import InternalError, SchemaVersionError
from romancy.storage.schema import Applied, Migration, compare, read_migrations, unmigrated
from romancy.storage.upkeep import Plan

if TYPE_CHECKING:
    from pathlib import Path


def known(history: str) -> list[Migration]:
    """Return migrations: `+` is an additive one, `-` another."""
    return [Migration(number, f"{number:04}_x", one == "+", "") for number, one in enumerate(history, 1)]


def applied(history: str) -> list[Applied]:
    return [Applied(one.version, one.name, one.additive) for one in known(history)]


@given(st.text("+-", min_size=1, max_size=6), st.data())
def test_in_one_line_of_versions_a_program_may_use_what_is_older_and_what_only_adds(
    history: str, data: st.DataObject
) -> None:
    knows = data.draw(st.integers(1, len(history)), "knows")
    has = data.draw(st.integers(0, len(history)), "has")
    program, database = known(history[:knows]), applied(history[:has])

    if has <= knows or "-" not in history[knows:has]:
        found = compare(program, database, "here")
        assert list(found.missing) == program[has:]
        assert list(found.unknown) == database[knows:]
        assert found.version == has
    else:
        with pytest.raises(SchemaVersionError, match="here: the schema is newer"):
            compare(program, database, "here")


def test_an_error_names_the_newest_that_stops_and_what_the_program_knows() -> None:
    said = r"it has version 3 \('0003_x'\), on which .* up to version 1; run a newer version of Romancy here"
    with pytest.raises(SchemaVersionError, match=said):
        compare(known("-"), applied("-+-+"), "here")


def test_what_has_no_name_is_compared_by_its_number() -> None:
    assert compare(known("--"), [*applied("-"), Applied(2, "", additive=False)], "here").missing == ()
    with pytest.raises(SchemaVersionError, match="it has version 2, on which"):
        compare(known("-"), [*applied("-"), Applied(2, "", additive=False)], "here")


@pytest.mark.parametrize("additive", [True, False])
@pytest.mark.parametrize("name", ["0001_start", ""])
@pytest.mark.parametrize("later", ["", "+", "-+-"])
def test_what_begins_with_another_first_schema_is_refused_by_its_name(name: str, later: str, *, additive: bool) -> None:
    database = [Applied(1, name, additive=additive), *applied("+" + later)[1:]]

    begins = repr(name) if name else "a migration without a name"
    said = rf"version {len(database)}.* begins with {begins}, .* begins with '0001_x'.* make a new database"
    for program in (known("-"), known("-+"), known("-+-+-")):
        with pytest.raises(SchemaVersionError, match=said):
            compare(program, database, "here")


@pytest.mark.parametrize(
    "database",
    [
        [Applied(1, "0001_x", additive=True), Applied(2, "0002_other", additive=True)],
        [Applied(1, "0001_x", additive=True), Applied(3, "0003_x", additive=True)],
        [
            Applied(1, "0001_x", additive=True),
            Applied(2, "0002_x", additive=True, whole=False),
            Applied(3, "0003_x", additive=True),
        ],
    ],
    ids=["one number, two names", "each lacks one", "one is half there"],
)
def test_what_another_branch_made_is_refused(database: list[Applied]) -> None:
    with pytest.raises(SchemaVersionError, match="another branch"):
        compare(known("++"), database, "here")


def test_what_was_begun_and_not_ended_is_missing() -> None:
    database = [*applied("+"), Applied(2, "0002_x", additive=False, whole=False)]

    assert [2] == [one.version for one in compare(known("+-"), database, "here").missing]
    with pytest.raises(SchemaVersionError, match="newer"):
        compare(known("+"), database, "here")


def test_a_program_that_may_not_migrate_names_what_is_missing() -> None:
    older = compare(known("+++"), applied("+"), "here")
    empty = compare(known("+"), [], "here")

    assert "has version 1 and lacks 0002_x, 0003_x; `romancy migrate`" in str(unmigrated(older, "here"))
    assert "here: it has no tables of Romancy yet" in str(unmigrated(empty, "here", account=", by a DBA"))
    assert str(unmigrated(empty, "here", account=", by a DBA")).endswith("makes them, by a DBA")


def test_a_plan_that_says_nothing_stops_older_code() -> None:
    assert ("a", "b") == Plan(steps=("a", "b"), sql="").stopping
    assert ("b",) == Plan(steps=("a", "b"), sql="", additive=("a",)).stopping
    assert () == Plan(steps=("a", "b"), sql="", fresh=True).stopping


def test_files_are_read_in_order_and_are_additive_where_every_part_says_so(tmp_path: Path) -> None:
    files = {
        "0001_start.sql": "create 1;\n",
        "0001_start.two.sql": "-- additive: it is not alone.\ncreate 2;\n",
        "0002_index.sql": "-- It is quick.\n-- additive: only an index.\ncreate 3;\n",
        "0002_index.two.sql": "-- additive: only an index.\ncreate 4;\n",
        "0002_index.one.sql": "create 5;\n",
        "0003_no.sql": "-- not additive: it drops.\ncreate 6;\n",
        "0004_empty.sql": "-- additive: \ncreate 7;\n",
        "README.md": "none",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")

    found = read_migrations(tmp_path, "two")

    assert [(1, False), (2, True), (3, False), (4, False)] == [(one.version, one.additive) for one in found]
    assert found[1].sql.count("create") == 2
    assert found[1].sql.index("create 3") < found[1].sql.index("create 4")
    assert [False] == [one.additive for one in read_migrations(tmp_path, "one") if one.name == "0002_index"]


def test_two_migrations_with_one_number_are_refused(tmp_path: Path) -> None:
    for name in ("0001_a.sql", "0001_b.sql"):
        (tmp_path / name).write_text("create;\n", "utf-8")

    with pytest.raises(InternalError, match="0001_a, 0001_b"):
        read_migrations(tmp_path)
