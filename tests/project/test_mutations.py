"""A test covers each fence in the SQL of an adapter: without the fence, that test fails."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from romancy_conformance.servers import Kind, ServerUnavailableError, shared_server
from tools import tree
from tools.mutations import HANDFUL, MUTATIONS, Mutation
from tools.mutations.playing import CONTRACT, mutated, play

if TYPE_CHECKING:
    from pathlib import Path

_PLAYED = [one for one in MUTATIONS if os.environ.get("ROMANCY_SOAK") or one.name in HANDFUL]


@pytest.mark.long
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_finds_its_text_in_sql_alone(mutation: Mutation) -> None:
    changed = mutated(mutation)

    assert {name.rpartition(".")[2] for name in changed} == {"sql"}
    assert all(source != (tree.ROOT / name).read_text(encoding="utf-8") for name, source in changed.items())


@pytest.mark.parametrize("tests", sorted({mutation.tests for mutation in MUTATIONS}))
def test_the_tests_of_a_mutation_exist(tests: str) -> None:
    """Each word selects a test by its name: a test that is renamed or merged takes its mutations along."""
    file, _, words = tests.partition(" ")
    source = (tree.ROOT / CONTRACT / file).read_text(encoding="utf-8")
    names = re.findall(r"^async def (test_\w+)", source, re.MULTILINE)

    assert all(any(word in name for name in names) for word in words.split(" or "))


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
