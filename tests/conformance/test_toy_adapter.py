"""The adapter written out in docs/toy-adapter.md is found like Romancy's own, and keeps the promises it claims."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tools import markdown, tree

if TYPE_CHECKING:
    from pathlib import Path

_KEPT = ["test_log", "test_fence", "test_leases", "test_claims", "test_inbox", "test_mail"]

_FOUND = [
    "test_times_bound_what_is_found",
    "test_instances_of_one_time_come_once_each_whatever_the_size_of_a_page",
    "test_newest_first_and_by_id_where_the_time_is_the_same",
    "test_parts_of_names_and_ids_are_found_whatever_the_case_of_ascii_letters",
    "test_statuses_are_exact_and_combine_with_the_rest",
    "test_a_token_belongs_to_its_query",
]

_REFUSED = [
    "test_a_lone_row_is_judged_in_the_same_order",
    "test_each_of_many_is_told_its_own_reason",
    "test_a_child_that_is_in_does_not_stop_its_parent",
    "test_a_message_that_is_listed_twice_is_consumed_once",
    "test_only_a_change_is_held_against_the_row_of_the_instance",
    "test_a_message_is_closed_or_unknown_before_it_is_a_duplicate",
]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The page's adapter as an installed package, with the entry point that the page about adapters gives."""
    code, entry_point = (_block_of(name, kind) for name, kind in (("toy-adapter", "python"), ("adapters", "toml")))
    assert entry_point == '[project.entry-points."romancy.backends"]\ntoy = "toy:create_store"\n'
    (tmp_path / "toy.py").write_text(code, "utf-8")
    metadata = tmp_path / "toy-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1\n", "utf-8")
    (metadata / "entry_points.txt").write_text("[romancy.backends]\ntoy = toy:create_store\n", "utf-8")
    return tmp_path


def _block_of(page: str, language: str) -> str:
    """The only block of a page in this language."""
    read = markdown.read((tree.ROOT / "docs" / f"{page}.md").read_text("utf-8"))
    (text,) = [block.text for block in read.blocks if block.language == language]
    return text


def _judged(folder: Path, *families: str, limit: str = "120") -> str:
    kept = {name: value for name, value in os.environ.items() if name not in {"CI", "PYTEST_ADDOPTS"}}
    paths = os.pathsep.join([str(folder), *filter(None, sys.path)])
    names = [f"romancy_conformance.contract.{family}" for family in families]
    kept["ROMANCY_CONFORMANCE_LIMIT"] = limit
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "romancy_conformance.plugin", "--pyargs"]
    done = subprocess.run(
        [*command, *names, "--storage-url", f"toy://{folder}/{{unique}}.json"],
        cwd=folder,
        env=kept | {"PYTHONPATH": paths},
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


@pytest.mark.long
def test_the_toy_keeps_the_core_promises(installed: Path) -> None:
    said = _judged(installed, *_KEPT)

    assert "BROKEN" not in said, said
    assert len(_KEPT) == said.count("\nkept      ")


@pytest.mark.long
def test_what_the_toy_has_not_is_said_to_be_not_asked(installed: Path) -> None:
    said = _judged(installed, "test_sessions")

    assert "not asked Sessions: the user's writes and one append commit together, or neither does." in said
    assert "the store offers no service 'sessions'" in said
    assert "BROKEN" not in said, said


@pytest.mark.long
def test_the_toy_keeps_what_its_page_says(installed: Path) -> None:
    """Searches, pruning, waiting and large logs, and an opening without a schema."""
    said = _judged(
        installed,
        *(f"test_find::{name}" for name in _FOUND),
        *(f"test_refusals::{name}" for name in _REFUSED),
        "test_lists",
        "test_prune",
        "test_waiting",
        "test_new_mail::test_only_what_is_new_is_brought_to_who_keeps_the_rest",
        "test_opening::test_an_empty_database_is_not_touched_without_leave",
        "test_opening::test_closing_ends_what_is_under_way_and_keeps_what_was_acknowledged",
        "test_values::test_a_page_of_large_rows_is_cut_and_goes_on",
    )

    assert "BROKEN" not in said, said
    assert "the store wakes its callers at intervals" in said
    assert "the store brings whole mailboxes" in said
    assert "the store has no schema" in said


@pytest.mark.long
def test_paging_that_drops_what_has_the_same_time_is_found(installed: Path) -> None:
    toy = installed / "toy.py"
    code = toy.read_text("utf-8")
    right = "query.fits_place(row.created_at, row.instance_id)"
    assert right in code
    toy.write_text(code.replace(right, "(query.after is None or row.created_at < query.after.created_at)"), "utf-8")

    said = _judged(installed, "test_find::test_instances_of_one_time_come_once_each_whatever_the_size_of_a_page")

    assert "BROKEN    Finding" in said


@pytest.mark.long
def test_a_test_that_does_not_end_fails_and_the_others_run(installed: Path) -> None:
    toy = installed / "toy.py"
    code = toy.read_text("utf-8")
    right = "        await asyncio.sleep(min(timeout, self._look_every))\n"
    assert right in code
    toy.write_text(code.replace(right, "        await asyncio.sleep(10**6)\n"), "utf-8")

    said = _judged(installed, "test_waiting", "test_prune", limit="2")

    assert "the test has not ended after 2 s" in said
    assert "BROKEN    Wake-ups" in said
    assert "\nkept      Pruning" in said


@pytest.mark.long
def test_a_test_that_blocks_its_thread_ends_the_run_with_the_verdicts_so_far(installed: Path) -> None:
    toy = installed / "toy.py"
    code = toy.read_text("utf-8")
    right = "        await asyncio.sleep(min(timeout, self._look_every))\n"
    toy.write_text(code.replace(right, "        time.sleep(10**6)\n"), "utf-8")

    said = _judged(installed, "test_prune", "test_waiting", limit="-58")

    assert "does not end; the run ends here" in said
    assert "wait_for_work" in said
    assert "\nkept      Pruning" in said
