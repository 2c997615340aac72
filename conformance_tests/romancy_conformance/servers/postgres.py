"""A private PostgreSQL server."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import signal
from typing import IO, TYPE_CHECKING

from .account import hand_over
from .kinds import ServerUnavailableError
from .server import MAX_CONNECTIONS, USER, Server, run_once

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class PostgresServer(Server):
    orderly_stop = signal.SIGINT  # fast shutdown: ends the sessions, keeps every commit

    @property
    def socket(self) -> Path:
        return self.folder / f".s.PGSQL.{self.port}"

    def command(self) -> Sequence[str | Path]:
        settings = {
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "max_connections": str(MAX_CONNECTIONS),
            # Every minute it would count the rows of databases that tests use again, which have to be dropped then.
            "autovacuum_naptime": "1h",
            # In files in the data folder, so that a server that is killed and never restarted leaves no shared memory
            # behind.
            "dynamic_shared_memory_type": "mmap",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self.program.server, "-D", self.data, "-p", str(self.port), *options]

    def follow(self, primary: PostgresServer) -> None:
        """Become a standby of this server. For a server that was never started, while the other has all of its log."""
        access = primary.access
        (self.data / "standby.signal").touch()
        with (self.data / "postgresql.auto.conf").open("a", encoding="utf-8") as settings:
            source = f"host=127.0.0.1 port={primary.port} user={USER} password={access.password}"
            settings.write(f"primary_conninfo = '{source} application_name=standby'\n")
        hand_over(self.data)

    def initialise(self, data: Path, password: str, output: IO[bytes]) -> None:
        proof = data.parent / "scram"
        proof.write_text(_scram_verifier(password), encoding="utf-8")
        hand_over(proof)
        command: list[str | Path] = [
            self.program.folder / "initdb",
            f"--pgdata={data}",
            f"--username={USER}",
            f"--pwfile={proof}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]
        # The default order is a language's, as in production: SQL that relies on byte order must say so.
        linguistic = [*command, "--locale-provider=icu", "--icu-locale=en"]
        try:
            run_once(linguistic, data, output=output)
        except ServerUnavailableError:  # built without ICU, or older than 15
            run_once(command, data, output=output)


def _scram_verifier(password: str) -> str:
    """Return what PostgreSQL stores for a password: real SCRAM, with one round, where 4096 cost 8 ms a connection.

    The password is 96 random bits, so more rounds would only slow down thousands of tests.
    """
    rounds = 1
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (base64.b64encode(part).decode() for part in (salt, stored_key, server_key))
    return f"SCRAM-SHA-256${rounds}:{salt64}${stored64}:{server64}"
