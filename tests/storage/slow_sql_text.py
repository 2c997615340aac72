"""Comments and literals of SQL, read character by character: slow, and plain enough to compare with the server's rules.

Shares no code and no pattern with `romancy.storage.sql_text`.
"""

from __future__ import annotations

from typing import Final

_SPACES: Final = " \t\n\r\f\v"


class _UnclosedError(Exception):
    """A comment or a literal that never ends."""


class _Slow:
    """The cursor in a text, and what was read so far."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.at = 0
        self.words = ""
        self.literals: list[str] = []

    def sees(self, what: str) -> bool:
        return self.sql.startswith(what, self.at)

    def char(self, where: int) -> str:
        return self.sql[where] if 0 <= where < len(self.sql) else ""

    def read(self) -> tuple[str, list[str]]:
        while self.at < len(self.sql):
            start = self.at
            try:
                literal = self.piece()
            except _UnclosedError:
                self.words += self.sql[start:]
                break
            if literal is None and self.at == start:
                self.words += self.char(start)
                self.at += 1
            elif literal:
                self.words += f" '{len(self.literals)}' "
                self.literals.append(self.sql[start : self.at])
            else:
                self.words += " "
        return self.words, self.literals

    def piece(self) -> bool | None:
        """Move past a literal (True), a comment (False), or nothing (None)."""
        raise NotImplementedError

    def line(self, ends: str) -> bool:
        while self.at < len(self.sql) and self.char(self.at) not in ends:
            self.at += 1
        return False

    def comment(self, deeper: int) -> bool:
        """Past a comment whose opening was read."""
        while not self.sees("*/"):
            if self.at >= len(self.sql):
                raise _UnclosedError
            if deeper and self.sees("/*"):
                self.at += 2
                self.comment(deeper - 1)
            else:
                self.at += 1
        self.at += 2
        return False

    def quoted(self, mark: str, *, escapes: bool) -> bool:
        """Past a literal that begins here."""
        self.at += 1
        while True:
            if self.at >= len(self.sql):
                raise _UnclosedError
            if escapes and self.sees("\\"):
                if self.at + 1 >= len(self.sql):
                    raise _UnclosedError
                self.at += 2
            elif self.sees(mark + mark):
                self.at += 2
            elif self.sees(mark):
                self.at += 1
                return True
            else:
                self.at += 1


class _Postgres(_Slow):
    def named(self, where: int, *, first: bool = False) -> bool:
        char = self.char(where)
        letter = char.isascii() and char.isalpha()
        return char != "" and (letter or char == "_" or ord(char) > 127 or (not first and char in "0123456789"))

    def piece(self) -> bool | None:
        if self.sees("--"):
            return self.line("\n\r")
        if self.sees("/*"):
            self.at += 2
            return self.comment(10**6)
        if self.sees("'") or self.sees('"'):
            return self.quoted(self.char(self.at), escapes=False)
        if self.named(self.at - 1) or self.char(self.at - 1) == "$":
            return None
        if self.sees("e'") or self.sees("E'"):
            self.at += 1
            return self.continued()
        return self.dollar() if self.sees("$") else None

    def continued(self) -> bool:
        """Past a string with escapes and those that continue it."""
        while True:
            self.quoted("'", escapes=True)
            ahead = self.at
            while self.char(ahead) and (self.char(ahead) in _SPACES or self.sql.startswith("--", ahead)):
                if self.char(ahead) == "-":
                    while self.char(ahead) and self.char(ahead) not in "\n\r":
                        ahead += 1
                else:
                    ahead += 1
            if self.char(ahead) != "'":
                return True
            self.at = ahead

    def dollar(self) -> bool | None:
        end = self.at + 1
        if self.named(end, first=True):
            while self.named(end):
                end += 1
        if self.char(end) != "$":
            return None
        tag = self.sql[self.at : end + 1]
        self.at = end + 1
        while not self.sees(tag):
            if self.at >= len(self.sql):
                raise _UnclosedError
            self.at += 1
        self.at += len(tag)
        return True


class _Mysql(_Slow):
    def __init__(self, sql: str, *, executes: bool) -> None:
        super().__init__(sql)
        self.executes = executes
        self.inside = False

    def piece(self) -> bool | None:
        after = self.char(self.at + 2)
        if self.sees("#") or (self.sees("--") and (after == "" or ord(after) < 33 or ord(after) == 127)):
            return self.line("\n")
        if self.sees("*/"):
            self.at += 2 if self.inside else 1
            self.inside = False
            return False
        if self.sees("/*"):
            return self.long()
        if self.char(self.at) in "'\"`":
            return self.quoted(self.char(self.at), escapes=self.char(self.at) != "`")
        return None

    def long(self) -> bool:
        run = next((mark for mark in ("/*!", "/*M!") if self.sees(mark)), None)
        self.at += len(run or "/*")
        if run is None:
            return self.comment(0)
        if not self.executes:
            return self.comment(1)
        while self.char(self.at) and self.char(self.at) in "0123456789":
            self.at += 1
        self.inside = True
        return False


def slow_readings(sql: str) -> list[list[object]]:
    """As `ending_texts.readings`."""
    mysql = [_Mysql(sql, executes=executes) for executes in ((True, False) if "!" in sql else (True,))]
    return [list(reading.read()) for reading in (_Postgres(sql), *mysql)]
