"""`make test-fresh` notices what is not green, and says what it lacks. A tree of a few lines stands for this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from romancy_conformance.servers.cache import cache_folder
from romancy_conformance.servers.kinds import ServerUnavailableError
from tools import tree
from tools.machines import debian_root, fresh, verdict
from tools.machines.inside import Left

ROOT_12, ODD_USER_13 = fresh.QUICK
SOAK = bool(os.environ.get("ROMANCY_SOAK"))
OTHERS = [each for each in fresh.ALL if each not in fresh.QUICK]
"""The pairings on which `.ci/run` runs a few tests or none."""

GREEN = "demo:\n\t@echo shown > .cache\ntest:\n\t@echo '=== 3 passed, 1 skipped in 0.10s ==='\n"
PLANTED = """\
demo:
\tsetsid --fork sleep 600 </dev/null >/dev/null 2>&1
\techo > ../left
\techo > '#forgotten'
test:
\t@echo '=== 1 failed, 2 passed in 0.10s ==='
\t@false
test-again:
\t@echo again
\t@false
"""


@pytest.fixture
def machine() -> Path:
    """The cache of machines; the test is skipped where no fresh machine can be made, with the reason."""
    if os.geteuid() != 0:
        pytest.skip("fresh machines: this test makes them as root")
    try:
        fresh.require()
        for suite in {each.suite for each in fresh.ALL}:
            debian_root.archive_of(suite, cache_folder())
    except (debian_root.RootError, ServerUnavailableError) as error:
        pytest.skip(f"fresh machines: {error}")
    return cache_folder()


def checkout(folder: Path, makefile: str) -> Path:
    """Make a repository with a Makefile."""
    (folder / "Makefile").write_text(makefile)
    (folder / ".gitignore").write_text(".cache\n")
    identity = ["-c", "user.name=tests", "-c", "user.email=tests@example.org"]
    for words in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "-m", "all of it"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


@pytest.mark.long
def test_a_green_run_is_green(machine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = fresh.run(ROOT_12, machine, source=checkout(tmp_path, GREEN))

    assert outcome.faults == []
    assert outcome.counts == {"passed": 3, "failed": 0, "skipped": 1}
    assert verdict.report([outcome]) == 0
    assert "Debian 12, as root: green, 3 passed, 0 failed, 1 skipped" in capsys.readouterr().out


@pytest.mark.long
def test_planted_faults_are_named(machine: Path, tmp_path: Path) -> None:
    outcome = fresh.run(ODD_USER_13, machine, source=checkout(tmp_path, PLANTED))

    process = outcome.faults.pop(1).split()
    assert ["left", "behind:", "process", "sleep", "600"] == [*process[:3], *process[4:]]
    assert outcome.faults[0] == "`make test || make test-again` failed with 2"
    assert [f"left behind: {ODD_USER_13.home}/left", "git status: ?? #forgotten"] == outcome.faults[2:]
    assert outcome.counts == {"passed": 2, "failed": 1, "skipped": 0}
    assert verdict.report([outcome]) == 1


@pytest.mark.long
def test_the_machine_is_what_the_pairing_says(machine: Path, tmp_path: Path) -> None:
    asked = "@pwd; id -u; umask; echo $$LC_ALL; . /etc/os-release; echo $$VERSION_ID"
    makefile = f"demo:\n\t{asked}\ntest:\n\t@stat -c %a Makefile\n"
    outcome = fresh.run(ODD_USER_13, machine, source=checkout(tmp_path, makefile))

    said = [line for line in outcome.output if line and not line.startswith(("+", "left:"))]
    assert [ODD_USER_13.tree, "1000", "0077", "C", "13", "600"] == said
    assert not (tree.ROOT / "build" / "fresh" / f"{ODD_USER_13.name}-{os.getpid()}").exists()


@pytest.mark.long
def test_an_interrupted_run_leaves_no_process_and_no_folder(machine: Path, tmp_path: Path) -> None:
    source = checkout(tmp_path, "demo:\n\t@setsid sleep 600 & echo ready; sleep 600\n")
    command = [sys.executable, "-m", "tools.machines.fresh", ODD_USER_13.name, "--source", str(source)]
    mark = {"ROMANCY_CI_RUN": str(tmp_path)}  # as `.ci/run` marks its processes, to find what is left of them
    with subprocess.Popen(
        command, cwd=tree.ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | mark, start_new_session=True
    ) as run:
        assert run.stdout is not None
        while "ready" not in (line := run.stdout.readline()):
            assert line
        folders = list((tree.ROOT / "build" / "fresh").glob(f"*-{run.pid}"))
        inside = with_setting(str(tmp_path))
        os.killpg(run.pid, signal.SIGTERM)
        run.communicate(timeout=200)

    assert len(inside) > 2
    assert len(folders) == 1
    assert not folders[0].exists()
    assert with_setting(str(tmp_path)) == []


def with_setting(value: str) -> list[str]:
    """Return the processes that have this value in their environment."""
    found: list[str] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found += [folder.name] if value.encode() in (folder / "environ").read_bytes() else []
        except OSError:
            continue
    return found


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not SOAK, reason="all tests on six more machines take long: make soak")
@pytest.mark.parametrize("pairing", OTHERS, ids=lambda pairing: pairing.name)
def test_the_other_pairings(machine: Path, pairing: fresh.Pairing) -> None:
    outcome = fresh.run(pairing, machine)

    assert outcome.faults == []


def test_the_pairings_are_all_of_them_and_two_are_quick() -> None:
    assert len({each.words for each in fresh.ALL}) == 8
    assert [each.words for each in fresh.QUICK] == [
        "Debian 12, as root",
        "Debian 13, as a user, path with a space, umask 077, LC_ALL=C",
    ]


def test_each_quick_machine_has_all_tests_in_twenty_four_days() -> None:
    plans = [fresh.quick_plan(day) for day in range(20_783, 20_807)]

    assert {
        (pairing, ("make demo", f"make test ARGS='--part {part}/12' || make test-again"))
        for pairing in fresh.QUICK
        for part in range(1, 13)
    } == {next(iter(plan.items())) for plan in plans}


def test_two_days_have_each_system_with_both_accounts_and_places() -> None:
    days = [list(fresh.quick_plan(day)) for day in (20_783, 20_784)]

    assert [{12, 13}] * 2 == [{pairing.release for pairing in day} for day in days]
    assert {(release, odd, not odd) for release in (12, 13) for odd in (False, True)} == {
        (pairing.release, pairing.odd, pairing.root) for day in days for pairing in day
    }


@pytest.mark.parametrize("package", debian_root.PACKAGES)
def test_readme_names_what_a_machine_has(package: str) -> None:
    assert f"`{package}`" in (tree.ROOT / "README.md").read_text("utf-8")


def test_an_unfinished_run_is_no_green_one() -> None:
    outcome = verdict.Outcome("Debian 12", ("make demo",), 1.0, None, [])

    assert outcome.faults == ["the run did not reach its end"]
    assert replace(outcome, left=Left(codes=[128])).commands == ("make demo",)
    assert replace(outcome, left=Left()).faults == ["git could not clone the tree"]


def test_the_report_names_what_failed_and_what_was_not_tested(capsys: pytest.CaptureFixture[str]) -> None:
    output = [
        "environment: ready: .venv (Python 3.11.2)",
        "=================== 2 failed, 5340 passed, 357 skipped in 592.10s (0:09:52) ====================",
        "sqlite: SQLite 3.40.1: 900 tests",
        "postgres: PostgreSQL 15.14, unpacked from bookworm-postgresql: 30 tests",
        "NOT TESTED, 303 tests skipped: mysql: no network",
        "FAILED tests/a.py::test_a - assert 1 == 2",
        "second look: UNSTEADY, to be mended: failed beside others, passed alone:",
    ]
    outcome = verdict.Outcome("Debian 12", ("make test",), 600.0, Left(codes=[0], seconds=[592.1]), output)

    assert verdict.report([outcome]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "  Debian 12: green, 5340 passed, 2 failed, 357 skipped; 600 s (592 s), CPython 3.11.2",
        "    FAILED tests/a.py::test_a - assert 1 == 2",
        "    NOT TESTED, 303 tests skipped: mysql: no network",
        "    second look: UNSTEADY, to be mended: failed beside others, passed alone:",
    ]
    assert outcome.databases == "SQLite 3.40.1, PostgreSQL 15.14"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("deb http://archive.example/debian trixie main\n", ("http://archive.example/debian", None)),
        (
            "deb [arch=amd64 signed-by=/keys/a.gpg] http://archive.example/debian trixie main\n",
            ("http://archive.example/debian", "/keys/a.gpg"),
        ),
        (
            "Types: deb\nURIs: http://archive.example/debian\nSigned-By: /keys/archive.pgp\n",
            ("http://archive.example/debian", "/keys/archive.pgp"),
        ),
        (
            "Types: deb\nURIs: http://archive.example/debian\nSigned-By:\n -----BEGIN PGP\n",
            ("http://archive.example/debian", None),
        ),
    ],
)
def test_the_mirror_of_an_apt_source(source: str, expected: tuple[str, str | None]) -> None:
    assert expected == debian_root.mirror_of(source)


def test_a_machine_that_refuses_namespaces_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "unshare").write_text("#!/bin/sh\necho 'unshare: Operation not permitted' >&2\nexit 1\n")
    (tmp_path / "unshare").chmod(0o755)
    (tmp_path / "newuidmap").symlink_to("unshare")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(debian_root.RootError, match=r"needs namespaces, which .* refuses: unshare: Operation not perm"):
        fresh.require()


def test_an_account_without_ranges_of_ids_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "unshare").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(debian_root.RootError, match=r"needs root, or .* newuidmap is not installed"):
        fresh.require()


def test_what_is_kept_for_machines_can_be_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "machines" / "12-root").mkdir(parents=True)

    for _ in range(2):
        assert fresh.main(["--clean", "--cache", str(tmp_path)]) == 0

    assert capsys.readouterr().out == f"{tmp_path / 'machines'}: removed\n"
    assert list(tmp_path.iterdir()) == []
