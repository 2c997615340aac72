"""The functions and objects whose answers differ from run to run, and what a workflow uses instead."""

from __future__ import annotations

import builtins
import os
import random
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

__all__ = ["Instead", "instead_of"]

_NOW: Final = "ctx.now()"
_CHANCE: Final = "ctx.random()"
_UUID: Final = "ctx.uuid4()"
_SLEEP: Final = "await ctx.sleep(…)"
_ACTIVITY: Final = "an activity"
_GIVEN: Final = "an activity, or a parameter of the workflow"
_ALWAYS: Final = 1_000
_CLOCKS: Final = ("time", "monotonic", "perf_counter", "process_time", "thread_time")
_BY_NAME: Final[dict[str, tuple[str, int]]] = {
    **{f"time.{name}{unit}": (_NOW, _ALWAYS) for name in _CLOCKS for unit in ("", "_ns")},
    **dict.fromkeys(("time.localtime", "time.gmtime", "time.ctime", "time.asctime"), (_NOW, 0)),
    "time.strftime": (_NOW, 1),
    "time.sleep": (_SLEEP, _ALWAYS),
    **{f"uuid.uuid{version}": (_UUID, _ALWAYS) for version in (1, 4, 6, 7)},
    "uuid.getnode": (_ACTIVITY, _ALWAYS),
    "random.Random": (_CHANCE, 0),
    "os.urandom": ("ctx.random().randbytes(…)", _ALWAYS),
    **{f"io.{name}": (_ACTIVITY, _ALWAYS) for name in ("open", "open_code")},
    "os.getenv": (_GIVEN, _ALWAYS),
    **{
        f"os.{name}": (_ACTIVITY, _ALWAYS)
        for name in ("getpid", "listdir", "scandir", "walk", "stat", "open", "getcwd", "cpu_count", "system", "popen")
    },
    **{f"socket.{name}": (_ACTIVITY, _ALWAYS) for name in ("gethostname", "getfqdn", "create_connection")},
    **{f"subprocess.{name}": (_ACTIVITY, _ALWAYS) for name in ("run", "Popen", "call", "check_call", "check_output")},
}
"""By full name: what to use instead, and up to how many arguments the call differs from run to run."""
_WHOLE_MODULES: Final = {"random": _CHANCE, "secrets": _CHANCE, "numpy.random": _CHANCE}
_SAME: Final = {"posix": "os", "nt": "os", "_io": "io"}
_OF_DATES: Final = ("now", "utcnow", "today")
_OF_PATHS: Final = frozenset(
    [
        "open",
        "read_text",
        "read_bytes",
        "write_text",
        "write_bytes",
        "exists",
        "is_file",
        "is_dir",
        "stat",
        "iterdir",
        "glob",
        "rglob",
        "walk",
        "cwd",
        "home",
        "mkdir",
        "unlink",
        "rename",
        "touch",
    ]
)


class Instead(NamedTuple):
    """A thing whose answer differs from run to run."""

    name: str
    use: str
    most_arguments: int
    """A call with more arguments than this has the same answer in each run."""
    is_call: bool = True


def instead_of(thing: Any) -> Instead | None:
    """What a workflow uses instead of this function or object. None if it may use it."""
    if thing is os.environ or thing is getattr(os, "environb", None):
        return Instead("os.environ", _GIVEN, _ALWAYS, is_call=False)
    if thing is builtins.open or thing is builtins.input:
        return Instead(thing.__name__, _ACTIVITY, _ALWAYS)
    owner = getattr(thing, "__self__", None)
    name = getattr(thing, "__name__", None)
    if not isinstance(name, str):
        return None
    if isinstance(owner, type):
        return _of_class(owner, name)
    if isinstance(owner, random.Random):
        return Instead(f"random.{name}", _CHANCE, _ALWAYS)
    module = owner.__name__ if isinstance(owner, ModuleType) else getattr(thing, "__module__", None)
    return _of_module(_SAME.get(str(module), str(module)), getattr(thing, "__qualname__", name))


def _of_class(owner: type, name: str) -> Instead | None:
    if issubclass(owner, date) and name in _OF_DATES:
        return Instead(f"{owner.__name__}.{name}", _NOW, _ALWAYS)
    if issubclass(owner, Path) and name in _OF_PATHS:
        return Instead(f"Path.{name}", _ACTIVITY, _ALWAYS)
    return None


def _of_module(module: str, name: str) -> Instead | None:
    known = _BY_NAME.get(f"{module}.{name}")
    if known is not None:
        return Instead(f"{module}.{name}", *known)
    owner, _, method = name.partition(".")
    if module.startswith("pathlib") and owner in ("Path", "PosixPath", "WindowsPath") and method in _OF_PATHS:
        return Instead(f"Path.{method}", _ACTIVITY, _ALWAYS)
    use = _WHOLE_MODULES.get(module)
    if use is None or method:
        return None  # a method of an object that was made: its making is named
    return Instead(f"{module}.{name}", use, _ALWAYS)
