"""A private TiDB: its SQL layer and its transactions over the store that is embedded in it, in one process.

The embedded store keeps locks in memory only. So this server is no judge of what a kill of a server does to a TiDB.
"""

from __future__ import annotations

import signal
from typing import IO, TYPE_CHECKING

from .account import hand_over
from .engines import ANNOUNCED
from .server import USER, Server

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class TidbServer(Server):
    orderly_stop = signal.SIGTERM

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    def command(self) -> Sequence[str | Path]:
        return [
            self.program.server,
            f"-config={self.data / 'tidb.toml'}",
            "-store=unistore",
            f"-path={self.data / 'store'}",
            f"-P={self.port}",
            "-host=127.0.0.1",
            f"-socket={self.socket}",
            "-report-status=false",
            f"-initialize-sql-file={self.data / 'accounts.sql'}",
        ]

    def initialise(self, data: Path, password: str, output: IO[bytes]) -> None:
        """The server makes its tables and the account when it first starts."""
        output.write(b"initialised by the first start\n")
        (data / "tidb.toml").write_text(
            f'server-version = "{ANNOUNCED}"\ntmp-storage-path = "tmp"\n[log]\nlevel = "warn"\n', encoding="utf-8"
        )
        (data / "accounts.sql").write_text(
            f"CREATE USER '{USER}'@'%' IDENTIFIED BY '{password}';\n"
            f"GRANT ALL ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n",
            encoding="utf-8",
        )
        hand_over(data)
