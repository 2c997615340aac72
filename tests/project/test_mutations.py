"""A test covers each fence in the SQL of an adapter: without the fence, that test fails."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from romancy_conformance.servers import Kind, ServerUnavailableError, shared_server
from tools import tree
from tools.mutations import HANDFUL, MUTATIONS, Mutation
from tools.mutations.playing import mutated, play

if TYPE_CHECKING:
    from pathlib import Path

_PLAYED = [one for one in MUTATIONS if os.environ.get("ROMANCY_SOAK") or one.name in HANDFUL]


@pytest.mark.long
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_finds_its_text_in_sql_alone(mutation: Mutation) -> None:
    changed = mutated(mutation)

    assert {name.rpartition(".")[2] for name in changed} == {"sql"}
    assert all(source != (tree.ROOT / name).read_text(encoding="utf-8") for name, source in changed.items())


@pytest.mark.soak
@pytest.mark.parametrize("mutation", _PLAYED, ids=lambda mutation: mutation.name)
def test_the_contract_fails_without_the_fence(mutation: Mutation, tmp_path: Path) -> None:
    if mutation.backend in set(Kind):
        try:
            shared_server(mutation.backend)
        except ServerUnavailableError as error:
            pytest.skip(f"database unavailable: {mutation.backend}: {error}")

    verdict = play(mutation, tmp_path)

    assert verdict.passed, f"{mutation.tests}: {verdict.why}\n{verdict.output[-2000:]}"


@pytest.mark.long
def test_names_are_unique_and_the_handful_exists() -> None:
    names = [mutation.name for mutation in MUTATIONS]

    assert sorted(set(names)) == sorted(names)
    assert set(HANDFUL) <= set(names)
