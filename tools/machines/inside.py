"""The first process of a fresh machine: mounts what a machine has, runs commands in its root, reports what they leave.

`fresh.py` starts it in namespaces of its own, as `unshare --mount --pid --ipc --fork python -m tools.machines.inside`,
with a `Plan` as JSON on the command line. All mounts and all processes of the root end with this process.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
_GRACE: Final = 3.0
"""Seconds in which a process may end that a command has told to end."""
_NOT_LOOKED_AT: Final = ("/proc", "/dev", "/sys", "/run", "/tmp")  # noqa: S108 - a place to leave files in
SLOW: Final = 124
"""The exit code of a command that did not end in its time."""


@dataclass(frozen=True)
class Plan:
    """What runs in a root, and as whom."""

    root: str
    uid: int
    home: str
    tree: str
    """The folder of the checkout, as the commands see it."""
    umask: int
    environment: dict[str, str]
    commands: list[str]
    """Each is run by a shell in the checkout."""
    mounts: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Folders of the cache, and where the root has them."""
    limit: int = 1800
    """Seconds for each command."""


@dataclass
class Left:
    """What the commands did, and what they left."""

    codes: list[int] = field(default_factory=list[int])
    """The exit code of each command."""
    seconds: list[float] = field(default_factory=list[float])
    processes: list[str] = field(default_factory=list[str])
    files: list[str] = field(default_factory=list[str])
    """New and changed files outside of checkout, cache and /tmp."""
    status: list[str] = field(default_factory=list[str])
    """What `git status` shows in the checkout."""


def run(plan: Plan) -> Left:
    """Run the plan in this process's namespaces."""
    root = Path(plan.root)
    mount(plan, root)
    before = dict(stamps(plan, root))
    left = Left()
    clone = f"git clone --quiet /source.git {shlex.quote(plan.tree)}"
    if code := run_command(plan, clone, where=plan.home):
        left.codes, left.seconds = [code], [0.0]
        return left
    for command in plan.commands:
        begun = time.monotonic()
        print(f"+ {command}", flush=True)
        left.codes.append(run_command(plan, command, where=plan.tree))
        left.seconds.append(time.monotonic() - begun)
    left.processes = processes_left(root)
    left.files = sorted(path for path, stamp in stamps(plan, root) if before.get(path) != stamp)
    left.status = git_status(plan)
    return left


def mount(plan: Plan, root: Path) -> None:
    """Mount processes, devices, memory and the cache."""
    _mount("-t", "proc", "proc", root / "proc")
    for name in ("dev", "run"):
        _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", root / name)
    for name in _DEVICES:
        (root / "dev" / name).touch()
        _mount("--bind", f"/dev/{name}", root / "dev" / name)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        (root / "dev" / name).symlink_to(target)
    (root / "dev/ptmx").symlink_to("pts/ptmx")
    for name, kind, options in (("shm", "tmpfs", "mode=1777"), ("pts", "devpts", "newinstance,ptmxmode=0666")):
        (root / "dev" / name).mkdir()
        _mount("-t", kind, "-o", options, kind, root / "dev" / name)
    for outside, inside in plan.mounts:
        _mount("--bind", outside, root / inside.lstrip("/"))


def _mount(*words: str | Path) -> None:
    subprocess.run(["mount", *words], check=True)


def run_command(plan: Plan, command: str, *, where: str) -> int:
    """Run a command as the plan's account; return its exit code. Collect the orphans that end meanwhile."""
    pid = os.posix_spawnp("chroot", _words(plan, command, where), os.environ)
    signal.signal(signal.SIGALRM, _too_slow)
    signal.alarm(plan.limit)
    try:
        while True:
            ended, status = os.wait()
            if ended == pid:
                return os.waitstatus_to_exitcode(status)
    except TimeoutError:
        print(f"`{command}` has not ended after {plan.limit} s", flush=True)
        return SLOW
    finally:
        signal.alarm(0)


def _too_slow(*_: object) -> None:
    raise TimeoutError


def _words(plan: Plan, command: str, where: str) -> list[str]:
    settings = [f"{name}={value}" for name, value in plan.environment.items()]
    script = f"umask {plan.umask:03o}; cd {shlex.quote(where)} && {command}"
    account = [f"--userspec={plan.uid}:{plan.uid}", "--groups="]
    return [
        "chroot",
        *account,
        plan.root,
        "/usr/bin/env",
        "-i",
        *settings,
        "/bin/sh",
        "-c",
        f"exec </dev/null; {script}",
    ]


def processes_left(root: Path) -> list[str]:
    """Return the processes that still run, after a short time to end."""
    deadline = time.monotonic() + _GRACE
    while (left := list(_processes(root))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _processes(root: Path) -> Iterator[str]:
    """Yield pid and command line of each process but this one; one that has ended and waits for its parent is none."""
    for folder in sorted((root / "proc").glob("[0-9]*")):
        if folder.name == str(os.getpid()):
            continue
        try:
            state = (folder / "stat").read_text("utf-8", "replace").rpartition(") ")[2][0]
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state not in "ZX":
            yield f"{folder.name} {b' '.join(words).decode('utf-8', 'replace').strip()}"


def stamps(plan: Plan, root: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield each file of the root with its time of change and size; a folder's never differ."""
    passed_by = {*_NOT_LOOKED_AT, plan.tree, *(inside for _, inside in plan.mounts)}
    for folder, folders, files in os.walk(root):
        here = folder.removeprefix(plan.root) + "/"
        folders[:] = [name for name in folders if here + name not in passed_by]
        for name in folders:
            yield f"{here}{name}/", (0, 0)
        for name in files:
            status = Path(folder, name).lstat()
            yield here + name, (status.st_mtime_ns, status.st_size)


def git_status(plan: Plan) -> list[str]:
    """Return what `git status` says of the checkout."""
    done = subprocess.run(
        _words(plan, "git status --porcelain", plan.tree), capture_output=True, text=True, check=False
    )
    return (done.stdout if done.returncode == 0 else done.stderr).splitlines()


def end(*_: object) -> None:
    """End this process as SIGTERM would, with what it has to clean up."""
    sys.exit(143)


def main(text: str) -> int:
    words: dict[str, Any] = json.loads(text)
    left = run(Plan(**words))
    print(f"\n{MARK}{json.dumps(asdict(left))}", flush=True)
    return 0


MARK: Final = "left: "

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)  # the first process of a namespace has no default for a signal
    sys.exit(main(sys.argv[1]))
