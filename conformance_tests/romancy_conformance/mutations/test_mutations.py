"""Every mend of the storage is held by a test: taken out, the suite turns red."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from romancy_conformance.mutations import HANDFUL, MUTATIONS, Mutation
from romancy_conformance.mutations._mutation import mutated, play, tree
from romancy_conformance.servers import Kind, ServerUnavailableError, shared_server

if TYPE_CHECKING:
    from pathlib import Path

_PLAYED = [one for one in MUTATIONS if os.environ.get("ROMANCY_SOAK") or one.name in HANDFUL]


@pytest.fixture
def root() -> Path:
    """The source tree."""
    found = tree()
    if found is None:
        pytest.skip("mutations need the source tree")
    return found


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_mend_stands_where_it_is_said_to(mutation: Mutation, root: Path) -> None:
    for name, source in mutated(mutation, root).items():
        assert source != (root / name).read_text(encoding="utf-8")


@pytest.mark.soak
@pytest.mark.parametrize("mutation", _PLAYED, ids=lambda mutation: mutation.name)
def test_the_suite_turns_red_without_the_mend(mutation: Mutation, root: Path, tmp_path: Path) -> None:
    if mutation.backend in set(Kind):
        try:
            shared_server(mutation.backend)
        except ServerUnavailableError as error:
            pytest.skip(f"database unavailable: {mutation.backend}: {error}")

    verdict = play(mutation, root, tmp_path)

    assert verdict.caught, f"{mutation.tests}: {verdict.why}\n{verdict.said[-2000:]}"


def test_names_are_unique_and_the_handful_exists() -> None:
    names = [mutation.name for mutation in MUTATIONS]

    assert sorted(set(names)) == sorted(names)
    assert set(HANDFUL) <= set(names)
