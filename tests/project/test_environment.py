"""`tools/environment.sh` finds a suitable Python, and gives advice where there is none."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tools import tree

if TYPE_CHECKING:
    from pathlib import Path

TOO_OLD = "#!/bin/sh\nexit 1\n"
WITHOUT_VENV = """#!/bin/sh
case "$*" in
    *ensurepip*) exit 1 ;;
    *print*) echo 3.11 ;;
esac
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder that is the script's whole PATH, with the commands it calls and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    put(folder, "id", "#!/bin/sh\necho 1000\n")
    return folder


def put(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def environment(path: Path, asked: str = "python3") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", tree.ROOT / "tools" / "environment.sh", asked, path.parent / "venv"],
        cwd=path.parent,
        env={"PATH": str(path), "HOME": str(path.parent)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_new_enough_python_it_says_how_to_name_one(path: Path) -> None:
    put(path, "python3", TOO_OLD)

    done = environment(path)

    assert done.returncode == 1
    assert done.stderr == (
        "environment: no Python 3.11 or newer: 'python3' and python3 to python3.15 are absent or older. "
        "Install one, or name it: make PYTHON=/path/to/python3.11\n"
    )


def test_without_the_venv_module_and_without_root_it_names_the_package(path: Path) -> None:
    put(path, "python3", TOO_OLD)
    put(path, "python3.12", WITHOUT_VENV)
    put(path, "apt-get", "#!/bin/sh\necho called apt-get\n")

    done = environment(path)

    assert done.returncode == 1
    assert done.stderr == (
        f"environment: {path}/python3.12 has no venv and ensurepip modules. Run: sudo apt-get install python3.11-venv\n"
    )


def test_as_root_it_installs_the_package(path: Path) -> None:
    put(path, "id", "#!/bin/sh\necho 0\n")
    put(path, "python3", WITHOUT_VENV)
    put(path, "apt-get", "#!/bin/sh\necho apt-get $*\nexit 1\n")

    done = environment(path)

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "environment: installing python3.11-venv",
        "apt-get update -q",
        "environment: apt-get could not install python3.11-venv; its messages are above",
    ]


def stand_in(does: str) -> str:
    """Write a Python like this one, except for what `does` does when a virtual environment is requested."""
    return f'#!/bin/sh\ncase "$*" in *-m*venv*) {does} ;; esac\nexec "{sys.executable}" "$@"\n'


def test_the_python_that_is_asked_for_comes_first(path: Path) -> None:
    put(path, "python3", TOO_OLD)
    put(path, "mine", stand_in("echo made >&2; exit 3"))

    done = environment(path, asked="mine")

    assert done.returncode == 3
    assert done.stderr.startswith("environment: making ")
    assert done.stderr.endswith("made\n")


@pytest.mark.parametrize(("made_for", "is_made_again"), [("", False), ("{here}", False), ("{here}-before", True)])
def test_an_environment_that_was_moved_is_made_again(path: Path, made_for: str, *, is_made_again: bool) -> None:
    put(path, "cat", '#!/bin/sh\nexec /bin/cat "$1"\n')
    put(path, "python3", stand_in("echo made again >&2; exit 3"))
    (path.parent / "venv" / "bin").mkdir(parents=True)
    put(path.parent / "venv" / "bin", "python", '#!/bin/sh\ncase "$*" in *install*) echo kept >&2; exit 4 ;; esac\n')
    (path.parent / "venv" / ".ready").write_text(made_for.format(here=path.parent))

    done = environment(path)

    assert (3 if is_made_again else 4) == done.returncode
    assert done.stderr.endswith("made again\n" if is_made_again else "kept\n")
