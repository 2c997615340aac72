"""The account that servers run under. PostgreSQL refuses to run as root, so root starts servers as another user."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from .kinds import ServerUnavailableError

if TYPE_CHECKING:
    import pwd
    from collections.abc import Sequence
    from pathlib import Path
    from typing import IO

_ACCOUNTS = ("postgres", "nobody")


def server_account() -> pwd.struct_passwd | None:
    """Return the account to run servers under when this process is root, else None: the process's own."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 - Windows has no such module, and runs no server

    for name in _ACCOUNTS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServerUnavailableError(f"running as root on a machine with none of the accounts {', '.join(_ACCOUNTS)}")


def is_reachable(path: Path) -> bool:
    """Whether the servers' account may traverse every existing folder on the way to `path`."""
    account = server_account()
    if account is None:
        return True
    for folder in (path, *path.parents):
        if folder.exists():
            status = folder.stat()
            owns = status.st_uid == account.pw_uid and status.st_mode & 0o100
            if not (owns or status.st_mode & 0o001):
                return False
    return True


def hand_over(folder: Path) -> None:
    """Make the servers' account the owner of `folder` and of all its contents."""
    account = server_account()
    if account is None:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def spawn(
    command: Sequence[str | Path], cwd: Path, *, output: IO[bytes], stdin: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """Start `command` as the servers' account, isolated from the terminal's signals and from this environment."""
    account = server_account()
    return subprocess.Popen(
        command,
        cwd=cwd,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", "HOME": str(cwd)},
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=output,
        stderr=output,
        start_new_session=True,
        user=None if account is None else account.pw_uid,
        group=None if account is None else account.pw_gid,
        extra_groups=None if account is None else [],
    )
