"""Takes from this interpreter what macOS and Windows lack: the nearest to these systems that can run on Linux.

    python -m tests.machines.lacking windows PACKAGE …

imports every module of these packages as on that system, and prints their number. Modules of others are imported
before, since many of them choose by the system too. `strip` is for a `sitecustomize` of a program and its children.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["SYSTEMS", "strip"]

NOT_IMPORTED: Final = ("__main__", "migrations")
OF_WINDOWS: Final = "romancy.engine.systems.windows"


@dataclass(frozen=True)
class System:
    """What a system lacks that Linux has, and what it has instead. A name may end with `*`.

    `select` is among the first of the modules, since others choose by it when they are imported.
    """

    platform: str
    names: dict[str, tuple[str, ...]]
    modules: tuple[str, ...] = ()
    own_names: tuple[tuple[str, str, object], ...] = ()
    own_modules: tuple[str, ...] = ()


_LINUX_ALONE: Final[dict[str, tuple[str, ...]]] = {
    "os": (
        "EFD_*", "GRND_*", "MFD_*", "O_DIRECT", "O_LARGEFILE", "O_NOATIME", "O_PATH", "O_RSYNC", "O_TMPFILE", "P_PIDFD",
        "POSIX_FADV_*", "RTLD_DEEPBIND", "RWF_*", "SCHED_BATCH", "SCHED_IDLE", "SCHED_RESET_ON_FORK", "SPLICE_*",
        "ST_APPEND", "XATTR_*", "copy_file_range", "eventfd*", "fdatasync", "getrandom", "getresgid", "getresuid",
        "getxattr", "listxattr", "memfd_create", "pidfd_open", "pipe2", "posix_fadvise", "posix_fallocate",
        "removexattr", "sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_param",
        "sched_rr_get_interval", "sched_setaffinity", "sched_setparam", "sched_setscheduler", "setns", "setresgid",
        "setresuid", "setxattr", "splice", "timerfd_*", "TFD_*", "unshare",
    ),
    "select": ("EPOLL*", "epoll"),
    "signal": ("SIGCLD", "SIGPOLL", "SIGPWR", "SIGRTMAX", "SIGRTMIN", "SIGSTKFLT", "pidfd_send_signal", "sigtimedwait",
               "sigwaitinfo"),
    "socket": ("AF_ALG", "AF_CAN", "AF_NETLINK", "AF_PACKET", "AF_TIPC", "AF_VSOCK", "ALG_*", "CAN_*", "MSG_NOSIGNAL",
               "NETLINK_*", "PACKET_*", "SOCK_CLOEXEC", "SOCK_NONBLOCK", "SO_BINDTODEVICE", "SO_DOMAIN", "SO_MARK",
               "SO_PASSCRED", "SO_PEERCRED", "SO_PRIORITY", "SO_PROTOCOL", "TCP_CORK", "TCP_DEFER_ACCEPT", "TCP_INFO",
               "TCP_LINGER2", "TCP_SYNCNT", "TCP_USER_TIMEOUT", "TCP_WINDOW_CLAMP", "TIPC_*"),
    "time": ("CLOCK_BOOTTIME", "CLOCK_TAI", "clock_getcpuclockid", "pthread_getcpuclockid"),
}  # fmt: skip
_POSIX_ALONE: Final[dict[str, tuple[str, ...]]] = {
    "os": (
        "CLD_*", "EX_CANTCREAT", "EX_CONFIG", "EX_DATAERR", "EX_IOERR", "EX_NO*", "EX_OS*", "EX_PROTOCOL",
        "EX_SOFTWARE", "EX_TEMPFAIL", "EX_UNAVAILABLE", "EX_USAGE", "F_LOCK", "F_TEST", "F_TLOCK", "F_ULOCK",
        "NGROUPS_MAX", "O_ACCMODE", "O_ASYNC", "O_CLOEXEC", "O_DIRECTORY", "O_DSYNC", "O_FSYNC", "O_NDELAY", "O_NOCTTY",
        "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "POSIX_SPAWN_*", "PRIO_*", "P_ALL", "P_PGID", "P_PID", "RTLD_*",
        "SCHED_*", "SEEK_DATA", "SEEK_HOLE", "ST_*", "WCONTINUED", "WCOREDUMP", "WEXITED", "WEXITSTATUS", "WIF*",
        "WNOHANG", "WNOWAIT", "WSTOP*", "WTERMSIG", "WUNTRACED", "chown", "chroot", "confstr*", "ctermid", "environb",
        "fchdir", "fchown", "fork", "forkpty", "fpathconf", "fstatvfs", "fwalk", "getegid", "getenvb", "geteuid",
        "getgid", "getgrouplist", "getgroups", "getloadavg", "getpgid", "getpgrp", "getpriority", "getsid", "getuid",
        "initgroups", "killpg", "lchown", "lockf", "login_tty", "major", "makedev", "minor", "mkfifo", "mknod", "nice",
        "openpty", "pathconf*", "posix_spawn*", "pread*", "pwrite*", "readv", "register_at_fork", "sched_*", "sendfile",
        "setegid", "seteuid", "setgid", "setgroups", "setpgid", "setpgrp", "setpriority", "setregid", "setreuid",
        "setsid", "setuid", "spawnlp*", "spawnvp*", "statvfs", "sync", "sysconf*", "tcgetpgrp", "tcsetpgrp", "ttyname",
        "uname", "wait", "wait3", "wait4", "waitid*", "writev",
    ),
    "select": ("PIPE_BUF", "POLL*", "poll"),
    "signal": ("ITIMER_*", "ItimerError", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGIO", "SIGIOT",
               "SIGKILL", "SIGPIPE", "SIGPROF", "SIGQUIT", "SIGSTOP", "SIGSYS", "SIGTRAP", "SIGTSTP", "SIGTTIN",
               "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2", "SIGVTALRM", "SIGWINCH", "SIGXCPU", "SIGXFSZ", "SIG_BLOCK",
               "SIG_SETMASK", "SIG_UNBLOCK", "Sigmasks", "alarm", "getitimer", "pause", "pthread_kill",
               "pthread_sigmask", "setitimer", "siginterrupt", "sigpending", "sigwait", "struct_siginfo"),
    "socket": ("AF_UNIX", "CMSG_*", "MSG_DONTWAIT", "MSG_EOR", "SCM_*", "SO_REUSEPORT", "recv_fds", "send_fds",
               "sethostname"),
    "time": ("CLOCK_*", "clock_*", "tzset"),
}  # fmt: skip
SYSTEMS: Final = {
    "macos": System("darwin", _LINUX_ALONE),
    # Compared with the names that CPython 3.14 for Windows has.
    "windows": System(
        "win32",
        {name: _LINUX_ALONE[name] + _POSIX_ALONE[name] for name in _LINUX_ALONE},
        modules=("_posixsubprocess", "fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"),
        own_names=(
            ("os", "O_BINARY", 0x8000),
            ("signal", "SIGBREAK", 21),
            ("subprocess", "CREATE_NO_WINDOW", 0x0800_0000),
        ),
        own_modules=("msvcrt", "winreg"),
    ),
}


def strip(system: System, *, hide: tuple[str, ...] = ("/proc",)) -> None:
    """Take away the names that the system lacks, and hide these folders from `open` and `readlink`."""
    for module, names in system.names.items():
        for name in names:
            _remove(importlib.import_module(module), name)
    follow = os.readlink

    def readlink(path: Any, *, dir_fd: int | None = None) -> Any:
        refuse("readlink", (path,))
        return follow(path, dir_fd=dir_fd)

    def refuse(event: str, arguments: Sequence[object]) -> None:
        if event in {"open", "readlink"} and str(arguments[0]).startswith(hide):
            raise FileNotFoundError(2, "hidden, as on another system", str(arguments[0]))

    sys.addaudithook(refuse)
    setattr(os, "readlink", readlink)  # noqa: B010 - the audit does not see it


def _remove(module: types.ModuleType, name: str) -> None:
    if name.endswith("*"):
        for one in [one for one in vars(module) if one.startswith(name[:-1])]:
            delattr(module, one)
    elif hasattr(module, name):
        delattr(module, name)


def _pretend(system: System) -> None:
    """Be that system for what is imported from now on."""
    strip(system)
    sys.modules.update(dict.fromkeys(system.modules))  # type: ignore[arg-type] # None: an import of it fails
    sys.modules.update({name: types.ModuleType(name) for name in system.own_modules})
    for module, name, value in system.own_names:
        setattr(importlib.import_module(module), name, value)
    sys.platform = system.platform


def _modules_of(packages: Iterable[str], *, but: str = "") -> list[str]:
    """Import all modules of the packages; return their names."""
    names = list(packages)
    for name in names:  # grows meanwhile
        module = importlib.import_module(name)
        for found in pkgutil.iter_modules(getattr(module, "__path__", ())):
            inner = f"{name}.{found.name}"
            names += [inner] if found.name not in NOT_IMPORTED and inner != but else []
    return names


def main(name: str, packages: list[str]) -> None:
    """Import every module of the packages twice, the second time as on that system."""
    import django  # noqa: PLC0415 - a program of its own, and `sitecustomize` does not need it
    from django.conf import settings  # noqa: PLC0415 - the same

    needed = ("admin", "auth", "contenttypes", "messages", "sessions")
    apps = [*(f"django.contrib.{one}" for one in needed), "romancy.ext.django"]
    settings.configure(INSTALLED_APPS=apps, ROMANCY={"URL": "memory://"})
    django.setup()
    _modules_of(packages, but=OF_WINDOWS)
    for known in [known for known in sys.modules if known.partition(".")[0] in packages]:
        del sys.modules[known]
    _pretend(SYSTEMS[name])
    print(len(_modules_of(packages, but="" if name == "windows" else OF_WINDOWS)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
