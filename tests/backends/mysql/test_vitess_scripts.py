"""The scripts of Vitess, and what is asked of its gate, without a server."""

from __future__ import annotations

import pytest

from romancy.errors import StorageConfigurationError
from romancy.storage.sql import heads_of, queries_of
from romancy_mysql._connection import leaves_level
from romancy_mysql._protocol import Answer
from romancy_mysql._scripts import FILES, texts
from romancy_mysql.engines.vitess import ENGINE, check_gate, check_target

PACKAGE = "romancy_mysql"
ADDED = {"see_committed"}


def test_each_script_stands_for_one_of_mysql_with_the_same_parameters() -> None:
    theirs, ours = queries_of(PACKAGE, FILES), queries_of(PACKAGE, ENGINE.scripts)
    their_heads, our_heads = heads_of(PACKAGE, FILES), heads_of(PACKAGE, ENGINE.scripts)

    assert set(ours) - set(theirs) == ADDED
    assert {
        name for name in set(ours) & set(theirs) if our_heads[name].parameters != their_heads[name].parameters
    } == set()


def test_no_read_is_shared_and_no_removal_has_the_limit_of_a_tablet() -> None:
    for name, text in texts(engine=ENGINE).items():
        if text.startswith(("select", "(select", "with")):
            assert "select /*vt+ CONSOLIDATOR=disabled */" in text, name
        if text.startswith("delete from"):
            assert " limit " in text, name


def test_no_script_holds_in_a_variable_what_tables_say_or_sets_a_level_for_one_transaction() -> None:
    for name, text in texts(engine=ENGINE).items():
        assert "into @" not in text, name
        assert "set transaction isolation" not in text, name


BACK = b"; set session transaction isolation level read committed"


@pytest.mark.parametrize(
    ("packet", "leaves"),
    [
        (b"set session transaction isolation level read uncommitted; select 1", True),
        (b"set session transaction isolation level repeatable read; commit", True),
        (b"set session transaction isolation level repeatable read; commit" + BACK, False),
    ],
)
def test_a_packet_that_leaves_a_level_is_told(packet: bytes, *, leaves: bool) -> None:
    assert leaves_level(packet) is leaves


SET = ("READ-COMMITTED", 1, "+00:00", "STRICT_TRANS_TABLES,NO_ZERO_DATE")


def asked(*shards: str, sharded: str = "false", settings: tuple[object, ...] = SET) -> list[Answer]:
    return [
        Answer((("shop", sharded, "unmanaged", ""), ("other", "true", "unmanaged", "")), 2),
        Answer((*((f"shop/{one}",) for one in shards), ("other/-80",), ("other/80-",)), 2),
        Answer((settings,), 1),
    ]


def test_a_keyspace_with_one_shard_is_taken() -> None:
    check_gate(asked("0"), "shop", "here")


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (asked("-80", "80-"), r"'shop' is sharded \(shop/-80, shop/80-\).*create another keyspace with one shard"),
        (asked("-", sharded="true"), "'shop' is sharded"),
        (asked("0", settings=("REPEATABLE-READ", *SET[1:])), "start vtgate with --enable_system_settings"),
        (asked("0", settings=("READ-COMMITTED", 50, *SET[2:])), "start vtgate with --enable_system_settings"),
        (asked("0", settings=(*SET[:3], "NO_ZERO_DATE")), "start vtgate with --enable_system_settings"),
    ],
)
def test_what_does_not_keep_the_promise_is_refused_by_name(answers: list[Answer], told: str) -> None:
    with pytest.raises(StorageConfigurationError, match=f"here: .*{told}"):
        check_gate(answers, "shop", "here")


@pytest.mark.parametrize("target", ["shop@replica", "shop:-80", "shop/-80@primary", "shop[deadbeef]"])
def test_a_target_that_is_no_keyspace_is_refused_by_name(target: str) -> None:
    check_target("shop-1", "here")
    with pytest.raises(StorageConfigurationError, match="is a target of Vitess, and not a keyspace alone"):
        check_target(target, "here")
