"""What an app may be told to keep of log lines, and how lines are stored."""

from __future__ import annotations

import pytest

from romancy import KeepLogs, Romancy, UsageError


@pytest.mark.parametrize("wrong", [True, "LOUD", 3.5, {"level": "INFO"}])
def test_a_wrong_option_is_refused(wrong: object) -> None:
    with pytest.raises(UsageError, match=r"keep_logs|level"):
        Romancy("sqlite:///x.db", keep_logs=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("lines", [0, -1, True, 1.5, 100_001])
def test_a_wrong_number_of_lines_is_refused(lines: object) -> None:
    with pytest.raises(UsageError, match="lines must be"):
        KeepLogs(lines=lines)  # type: ignore[arg-type]
