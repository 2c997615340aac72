"""Ends commands: every error of this library becomes a line on stderr and an exit code that scripts can rely on."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Final

import click

from romancy.errors import (
    CodecError,
    InstanceConflictError,
    InstanceNotFoundError,
    NonDeterminismError,
    RomancyError,
    StorageError,
    UsageError,
    WorkflowCancelledError,
    WorkflowFailedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

__all__ = ["DIVERGED", "FAILED", "NOT_FOUND", "ended"]

FAILED: Final = 1
NOT_FOUND: Final = 3
DIVERGED: Final = 6
_INTERRUPTED: Final = 130
_CODES: Final[tuple[tuple[type[Exception], int], ...]] = (
    (InstanceNotFoundError, NOT_FOUND),
    (InstanceConflictError, 4),
    (UsageError, 2),
    (StorageError, 5),
    (NonDeterminismError, DIVERGED),
    (WorkflowFailedError, FAILED),
    (WorkflowCancelledError, FAILED),
)

_PASSWORD: Final = re.compile(r"(?<=[^\s:/@]):(?!//)[^\s]*@")
_ADVICE: Final[dict[type[Exception], str]] = {
    CodecError: "; give --app MODULE:APP with an app that has the codec",
    InstanceNotFoundError: "; `romancy list` shows those that are in this database",
}
"""Hints for a shell user, after the message of an error."""


def ended(command: Callable[[], object]) -> int:
    """Run a command and return its exit code. Errors are printed on stderr, internal ones with a traceback."""
    stdout = sys.stdout
    try:
        code = command()
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.message = without_passwords(error.message)
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return _INTERRUPTED
    except BrokenPipeError:
        return _unread(stdout)
    except SystemExit:
        if sys.stdout is stdout:
            raise
        return _unread(stdout)  # click puts another stream there, and ends the process with 1
    except (RomancyError, TimeoutError) as error:
        advice = _ADVICE.get(type(error), "")
        told = without_passwords(str(error) or type(error).__name__)
        click.echo(f"romancy: {told}{advice}", err=True)
        return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def without_passwords(text: str) -> str:
    """The text, with what may be the password of a URL that was given in the wrong place left out."""
    return _PASSWORD.sub(":***@", text)


def _unread(stdout: TextIO) -> int:
    """The exit code if the reader has gone, as `head` does. Buffered output must not raise once more at exit."""
    sys.stdout = stdout
    os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
    return 0
