"""The engines of this wire together: each is recognised, and none is in the way of another."""

from __future__ import annotations

import pytest

from romancy.storage.url import parse_url
from romancy_postgres._settings import read_settings
from romancy_postgres.engines import ENGINES, ERRORS, PLAIN, Engine, as_pooled, pgbouncer, with_extensions
from romancy_postgres.engines.citus import ENGINE as CITUS


def test_each_module_of_an_engine_is_found() -> None:
    assert {PLAIN, CITUS} <= {*ENGINES}
    assert PLAIN.extension == ""


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.extension or "plain")
def test_an_engine_is_known_by_its_extension_among_others(engine: Engine) -> None:
    others = {"plpgsql": "1.0", "pg_trgm": "1.6"}

    assert with_extensions(others) is PLAIN
    assert with_extensions(others | ({engine.extension: "1"} if engine.extension else {})) is engine
    assert engine.addition.format(version="13.2-1").endswith("13.2-1" if engine.extension else "")


def test_no_error_means_two_things() -> None:
    parts = [pgbouncer.ERRORS, *(one.errors for one in ENGINES)]
    told = [state for one in parts for state in one.misconfigured]
    restated = [(one.state, one.words.pattern) for part in parts for one in part.restated]

    assert len(told) == len(set(told)) == len(ERRORS.misconfigured) > 0
    assert len(restated) == len(set(restated)) == len(ERRORS.restated) > 0
    assert not {one.means for one in ERRORS.restated} & {*told}


def test_behind_a_pooler_a_server_is_its_engine_otherwise() -> None:
    for engine in ENGINES:
        pooled = as_pooled(engine)

        assert pooled is as_pooled(engine), "what is kept for an engine is kept for it behind a pooler"
        assert (pooled.scripts, pooled.settings, pooled.planning) == (engine.scripts, engine.settings, engine.planning)
        assert (engine.keeps_session, pooled.keeps_session) == (True, False)
        assert "%s" in pooled.forgets_statements


def test_an_engine_that_is_found_behind_a_pooler_is_behind_it_still() -> None:
    plain, pooled = (read_settings(parse_url(f"postgresql://db.example/a{way}")) for way in ("", "?pooler=transaction"))

    assert plain.speaking_to(CITUS).engine is CITUS
    assert pooled.speaking_to(CITUS).engine is as_pooled(CITUS)
    assert pooled.speaking_to(CITUS).speaking_to(PLAIN).engine is as_pooled(PLAIN)
