"""Private MySQL and MariaDB servers: the same options, two ways to initialise data."""

from __future__ import annotations

import signal
import tempfile
from typing import IO, TYPE_CHECKING

from .account import hand_over
from .kinds import ServerUnavailableError
from .server import MAX_CONNECTIONS, USER, Server, run_once

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MARIADB_SCRIPTS = ("system_tables.sql", "performance_tables.sql", "system_tables_data.sql", "sys_schema.sql")


class MySQLServer(Server):
    orderly_stop = signal.SIGTERM
    further_options: Sequence[str | Path] = ()

    def replicate(self, number: int) -> None:
        """Give it this server id, and a log from which others can follow it. For a server that was never started.

        It takes no writes until it is told to, so that a lost primary that comes back is fenced.
        """
        self.further_options = [f"--server-id={number}", "--read-only=ON", *self._replication()]
        (self.data / "auto.cnf").unlink(missing_ok=True)  # the id of the server in the template

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    def command(self) -> Sequence[str | Path]:
        return [
            *self._program_on(self.data),
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--socket={self.socket}",
            f"--pid-file={self.folder / 'pid'}",
            f"--max-connections={MAX_CONNECTIONS}",
            "--innodb-flush-log-at-trx-commit=1",
            "--sync-binlog=1",
            "--skip-name-resolve",
            *self._own_options(),
            *self.further_options,
        ]

    def initialise(self, data: Path, password: str, output: IO[bytes]) -> None:
        script = data.parent / "accounts.sql"
        script.write_text("\n".join(_accounts(password)), encoding="utf-8")
        hand_over(data.parent)
        run_once([*self._program_on(data), "--initialize-insecure", f"--init-file={script}"], data, output=output)
        script.unlink()

    def _own_options(self) -> Sequence[str]:
        return ["--mysqlx=OFF", "--secure-file-priv=NULL"]

    def _replication(self) -> Sequence[str | Path]:
        """The options of a replicated server: transactions have ids, and a commit can wait for a replica."""
        folder = self.program.prefix / "lib" / "mysql" / "plugin"
        plugins = "semisync_source.so;semisync_replica.so"
        return [
            "--gtid-mode=ON",
            "--enforce-gtid-consistency=ON",
            f"--plugin-dir={folder}",
            f"--plugin-load-add={plugins}",
        ]

    def _program_on(self, data: Path) -> list[str | Path]:
        prefix = self.program.prefix
        return [
            self.program.server,
            "--no-defaults",
            f"--basedir={prefix}",
            f"--lc-messages-dir={self._share}",
            f"--datadir={data}",
            f"--tmpdir={_scratch(data)}",
        ]

    @property
    def _share(self) -> Path:
        """Return the folder of messages and scripts, which has one of two names."""
        for name in ("mariadb", "mysql"):
            folder = self.program.prefix / "share" / name
            if (folder / "english").exists():
                return folder
        raise ServerUnavailableError(f"{self.program.server} has no share folder in {self.program.prefix}")


class MariaDBServer(MySQLServer):
    def initialise(self, data: Path, password: str, output: IO[bytes]) -> None:
        with tempfile.TemporaryFile() as script:
            script.write(b"CREATE DATABASE mysql;\nUSE mysql;\n")
            for name in _MARIADB_SCRIPTS:
                script.write(self._script(name).read_bytes() + b"\n")
            script.write("\n".join(["FLUSH PRIVILEGES;", *_accounts(password)]).encode())
            script.seek(0)
            run_once([*self._program_on(data), "--bootstrap"], data, output=output, stdin=script)

    def _own_options(self) -> Sequence[str]:
        return []

    def _replication(self) -> Sequence[str | Path]:
        return ["--log-bin=binlog", "--log-slave-updates", "--gtid-strict-mode=ON"]

    def _script(self, name: str) -> Path:
        for prefix in ("mariadb", "mysql"):
            if (path := self._share / f"{prefix}_{name}").exists():
                return path
        raise ServerUnavailableError(f"{self._share} holds no script *_{name}")


def _scratch(data: Path) -> Path:
    """Return the server's own folder for temporary tables: a starting MariaDB deletes all files in it, even in use."""
    folder = data.parent / "tmp"
    if not folder.is_dir():
        folder.mkdir()
        hand_over(folder)
    return folder


def _accounts(password: str) -> list[str]:
    """Return the statements, one on each line, that make `USER` the administrator from any host."""
    return [
        f"CREATE USER '{USER}'@'%' IDENTIFIED BY '{password}';",
        f"GRANT ALL ON *.* TO '{USER}'@'%' WITH GRANT OPTION;",
        "",
    ]
