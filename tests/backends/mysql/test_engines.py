"""The engines of this wire together: each is recognised, and none is in the way of another."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from romancy_mysql._dialect import Dialect
from romancy_mysql.engines import ENGINES, ERRORS, PLAIN, as_node, galera, port_of

if TYPE_CHECKING:
    from romancy_mysql.engines import Engine


def test_each_module_of_an_engine_is_found() -> None:
    assert {"MariaDB", "MySQL", "TiDB", "Vitess"} <= {one.product for one in ENGINES}
    assert PLAIN.product == "MySQL"


@pytest.mark.parametrize(("one", "other"), [*permutations(ENGINES, 2)], ids=lambda engine: engine.product.lower())
def test_no_engine_is_taken_for_another_or_shares_its_scheme(one: Engine, other: Engine) -> None:
    word = one.known_by.announced

    assert not word or word not in other.known_by.announced
    assert not one.known_by.scheme or one.known_by.scheme != other.known_by.scheme


def test_no_error_means_two_things() -> None:
    parts = [galera.ERRORS, *(one.errors for one in ENGINES)]
    told = [code for one in parts for code in (*one.unavailable, *one.misconfigured)]
    meant = [code for one in parts for code in (*one.transient, *one.mismatches, *one.refused_values)]

    assert len(told) == len(set(told)) == len(ERRORS.unavailable) + len(ERRORS.misconfigured) > 0
    assert len(meant) == len(set(meant)) > 0
    assert not {*told} & {*meant}
    assert ERRORS.overruns | ERRORS.detached <= {*told}, "what is said of each"


def test_a_node_is_its_engine_otherwise() -> None:
    for engine in ENGINES:
        node = as_node(engine)

        assert node is as_node(engine), "what is kept for an engine is kept for its nodes"
        assert node.session == f"{engine.session}, wsrep_sync_wait = 7"
        assert (node.scripts, node.known_by, node.migrations) == (engine.scripts, engine.known_by, engine.migrations)
        assert not node.row_locks
        assert not node.named_locks


def test_a_node_says_so_behind_its_version() -> None:
    dialect = Dialect(PLAIN, (8, 0, 36))

    assert structs.replace(dialect, engine=as_node(PLAIN)).name == "MySQL 8.0.36 Galera"


@pytest.mark.parametrize(("scheme", "port"), [("mysql", 3306), ("mariadb", 3306), ("tidb", 4000)])
def test_a_scheme_has_a_port(scheme: str, port: int) -> None:
    assert port_of(scheme) == port
