"""A random walk over the whole contract: each answer, and in the end each table, is that of the model."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from romancy_conformance.contract.walking.steps import KINDS, SUBJECTS
from romancy_conformance.contract.walking.walk import Ground, walk

pytestmark = pytest.mark.anyio

SOAKS = bool(os.environ.get("ROMANCY_SOAK"))


@pytest.mark.parametrize("seed", range(2))
async def test_a_store_answers_as_the_model_does(storage_url: str, seed: int) -> None:
    async with Ground.at(storage_url) as ground:
        await walk(ground, seed, 150, Counter())


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10, 210 if SOAKS else 14))
async def test_long_walks(storage_url: str, seed: int) -> None:
    kinds = Counter[str]()

    async with Ground.at(storage_url) as ground:
        await walk(ground, seed, 300, kinds)

    assert KINDS.keys() == kinds.keys()


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10, 60 if SOAKS else 12))
@pytest.mark.parametrize("subject", SUBJECTS)
async def test_walks_about(storage_url: str, subject: str, seed: int) -> None:
    """Many steps meet the same few rows."""
    async with Ground.at(storage_url) as ground:
        await walk(ground, seed, 300, Counter(), SUBJECTS[subject])
