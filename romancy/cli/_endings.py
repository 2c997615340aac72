"""Ends commands: every error of this library becomes a line on stderr and an exit code that scripts can rely on."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from typing import TYPE_CHECKING, Final

import click

from romancy.cli._stdout import LOST, lost
from romancy.errors import (
    CodecError,
    InstanceConflictError,
    InstanceEndedError,
    InstanceNotFoundError,
    NonDeterminismError,
    QuestionAnsweredError,
    QuestionNotFoundError,
    RomancyError,
    StartSkippedError,
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
_SKIPPED: Final = 7
_INTERRUPTED: Final = 130
_CODES: Final[tuple[tuple[type[Exception], int], ...]] = (
    (InstanceNotFoundError, NOT_FOUND),
    (InstanceConflictError, 4),
    (QuestionNotFoundError, NOT_FOUND),
    (QuestionAnsweredError, 4),
    (InstanceEndedError, 4),
    (UsageError, 2),
    (StorageError, 5),
    (NonDeterminismError, DIVERGED),
    (StartSkippedError, _SKIPPED),
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
        return _flushed(command())
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        told = io.StringIO()
        error.show(told)
        click.echo(without_passwords(told.getvalue()), err=True, nl=False)
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
    except (RomancyError, OSError) as error:
        return _failed(error, stdout)


def _flushed(code: object) -> int:
    if sys.stdout is not None:  # pyright: ignore[reportUnnecessaryComparison] - Python sets it so
        sys.stdout.flush()
    return code if isinstance(code, int) else 0


def _failed(error: RomancyError | OSError, stdout: TextIO) -> int:
    """Print the error, and return its exit code. Raises an OSError that no user can have caused."""
    if isinstance(error, OSError) and not isinstance(error, RomancyError | TimeoutError):
        if error.errno not in LOST:
            raise error
        click.echo(f"romancy: {lost(error)}", err=True)
        _unread(stdout)
        return FAILED
    advice = _ADVICE.get(type(error), "")
    told = str(error) or type(error).__name__
    if isinstance(error, InstanceNotFoundError):
        told = without_passwords(told)  # it repeats what was typed as an id
    click.echo(f"romancy: {told}{advice}", err=True)
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def without_passwords(text: str) -> str:
    """The text, with what may be the password of a URL that was given in the wrong place left out."""
    return _PASSWORD.sub(":***@", text)


def _unread(stdout: TextIO) -> int:
    """The exit code if the reader has gone, as `head` does. Buffered output must not raise once more at exit."""
    sys.stdout = stdout
    with contextlib.suppress(OSError, ValueError):  # it may have no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
    return 0
