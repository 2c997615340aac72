"""One connection to the server: made, secured and queried. Only this file uses the driver's connection class.

A *packet* is any number of statements sent together and answered together in one round trip. The server carries it out
without waiting for this process, so a process that freezes cannot leave a transaction open between two of its
statements.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

import aiomysql
from pymysql.constants import CLIENT, COMMAND, SERVER_STATUS
from pymysql.err import InterfaceError, MySQLError

from romancy.errors import StorageConfigurationError, StorageUnavailableError
from romancy.storage.passwords import asked
from romancy_mysql._dialect import dialect_of
from romancy_mysql._errors import (
    TOLD_BY_THE_SERVER,
    ConnectionLostError,
    DetachedNodeError,
    ReadOnlyServerError,
    TransientError,
    UnpreparedError,
    translate,
)
from romancy_mysql._prepared import Prepared
from romancy_mysql._protocol import Answer, Reader
from romancy_mysql.engines import IS_NODE, IS_READY, PLAIN, as_node

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from typing import Any

    from romancy_mysql._prepared import Bound
    from romancy_mysql._settings import Settings

__all__ = ["HANDLING", "READING", "Line", "Wire", "connect", "exchange", "exchange_error", "leaves_level"]

T = TypeVar("T")

_COM_RESET_CONNECTION = 0x1F
_CLOSE_TIMEOUT = 2.0
# Settings that decide how statements are parsed. With others, a backslash or a byte of another character set could end
# a literal, and NULL could become "". May be sent within a transaction.
READING = (
    "set names utf8mb4; "
    "set session sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,"
    "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'"
)
# Further settings that the statements rely on, whatever the server's defaults and the connection's history.
_SETUP = READING + (
    ", time_zone = '+00:00', autocommit = 1, completion_type = 'NO_CHAIN', sql_safe_updates = 0, "
    "innodb_lock_wait_timeout = 1, lock_wait_timeout = 5, wait_timeout = {idle}{more}; "
    "set session transaction isolation level read committed"
)
_CAN_WRITE = b"select @@global.read_only; " + IS_NODE + b"; " + IS_READY + b"; "
_LEVEL = b"set session transaction isolation level "
_USUAL_LEVEL = _LEVEL + b"read committed"
_WRITABLE = ("0", "OFF")
_IN_TRANSACTION = SERVER_STATUS.SERVER_STATUS_IN_TRANS
_BEGIN, _COMMIT = b"start transaction;", b";commit"
_OF_TRANSACTIONS = (b"start ", b"set ", b"rollback")
"""How packets begin that are not for a transaction that is made for them."""


class Line(Protocol):
    """A connection to which packets can be sent: one of Romancy's own, or one of the caller's."""

    async def run(self, packet: bytes, what: str) -> list[Answer]:
        """Send a packet. Errors are those of `_errors.translate`."""
        ...


class Wire(aiomysql.Connection):
    """A connection of Romancy's own. `tainted`: its state is in doubt, and it must not be used again."""

    settings: Settings
    ready: dict[bytes, Prepared]
    """The statements that the server keeps prepared for this connection."""
    tainted = False
    fresh = True
    """Whether the connection was never used. If it breaks then, the server is really away."""
    prepares = True
    """Whether the server may still be asked to prepare statements."""
    engine = PLAIN
    alters = False
    """Whether packets are looked at before they are sent."""
    whole = False
    """Whether a packet outside a transaction is made one."""
    borrower: Wire | None = None
    """The connection that has borrowed this one's socket."""
    timed_out = False
    _busy_until = 0.0
    _watch: asyncio.TimerHandle | None = None
    _stream: asyncio.StreamWriter | None = None
    """The socket last used, also after the driver has dropped it."""

    async def run(self, packet: bytes, what: str) -> list[Answer]:
        """Send a packet and collect its answers. After the first statement that fails, the rest is not carried out.

        Errors are those of `_errors.translate`. Cancellation and time-outs close the connection.
        """
        if self.alters:
            return await self._run_altered(packet, what)
        return await self._watched(self._ask(COMMAND.COM_QUERY, packet), what)

    async def _run_altered(self, packet: bytes, what: str) -> list[Answer]:
        if self.engine.levels_stay and _LEVEL in packet:
            return await self._run_at_level(packet, what)
        if self.whole and not (self.server_status & _IN_TRANSACTION or packet.startswith(_OF_TRANSACTIONS)):
            return await self._run_whole(packet, what)
        return await self._watched(self._ask(COMMAND.COM_QUERY, packet), what)

    async def _run_at_level(self, packet: bytes, what: str) -> list[Answer]:
        """Run a packet that sets a level of isolation. Until the usual one is back, the state is in doubt."""
        self.tainted = True
        answers = await self._watched(self._ask(COMMAND.COM_QUERY, packet), what)
        self.tainted = leaves_level(packet)
        return answers

    async def _run_whole(self, packet: bytes, what: str) -> list[Answer]:
        """Run a packet as one transaction, in the same round trip."""
        whole = b"".join((_BEGIN, packet, _COMMIT))
        try:
            answers = await self._watched(self._ask(COMMAND.COM_QUERY, whole), what)
        except TOLD_BY_THE_SERVER:
            await self._watched(self._ask(COMMAND.COM_QUERY, b"rollback"), "rollback")
            raise
        return answers[1:-1]

    async def execute(self, sql: bytes, values: Sequence[Bound], what: str) -> Answer:
        """Run one statement that the server prepares for this connection at its first use.

        Errors are those of `run`. `UnpreparedError` if the statement is not prepared and cannot be: send it in another
        way.
        """
        prepared = self.ready.get(sql)
        if prepared is None:
            prepared = await self._prepare(sql, what)
        try:
            (answer,) = await self._watched(self._ask(COMMAND.COM_STMT_EXECUTE, prepared.packet(values)), what)
        except UnpreparedError:
            self.ready.clear()
            raise
        return answer

    async def _prepare(self, sql: bytes, what: str) -> Prepared:
        if not self.prepares:
            raise UnpreparedError(what)
        try:
            prepared = await self._watched(self._ask_for(sql), what)
        except TransientError:
            raise
        except TOLD_BY_THE_SERVER:  # it has too many, or a proxy does not support prepared statements
            self.prepares = False
            raise UnpreparedError(what) from None
        self.ready[sql] = prepared
        return prepared

    async def _watched(self, asking: Coroutine[Any, Any, T], what: str) -> T:
        """Wait for an answer within the time limit. Errors are those of `run`."""
        loop = asyncio.get_running_loop()
        self._busy_until = loop.time() + self.settings.timeout
        if self._watch is None:
            self._watch = loop.call_at(self._busy_until, self._give_up_if_busy)
        try:
            answer = await asking
        except MySQLError as error:
            told = self._told(error, what)
            demoted = isinstance(told, ReadOnlyServerError) and self.settings.hosts  # another one is the primary now
            if demoted or isinstance(told, DetachedNodeError) or not isinstance(told, TOLD_BY_THE_SERVER):
                self.abort()
            raise told from None
        except BaseException as error:
            # If another task closed the connection in the meantime, the driver's reader and writer are None.
            lost = isinstance(error, OSError) or (self.closed and isinstance(error, AttributeError))
            self.abort()
            if lost:
                raise self._told(InterfaceError(), what) from None
            raise
        finally:
            self._busy_until = 0.0
        self.fresh = False
        return answer

    async def _ask(self, command: int, packet: bytes) -> list[Answer]:
        reader = await self._sent(command, packet)
        try:
            return await reader.answers()
        finally:
            self.server_status = reader.status or self.server_status  # of an error, that of the statement before it

    async def _ask_for(self, sql: bytes) -> Prepared:
        reader = await self._sent(COMMAND.COM_STMT_PREPARE, sql)
        return Prepared(*await reader.prepared())

    async def _sent(self, command: int, packet: bytes) -> Reader:
        await self._execute_command(command, packet)  # first reads the answers that a cursor of the user's has left
        stream = self._reader
        if stream is None:
            raise InterfaceError
        return Reader(stream, self._next_seq_id)

    def _told(self, error: MySQLError, what: str) -> Exception:
        where = self.settings.where
        if self.timed_out:
            return ConnectionLostError(f"{where}: no answer to {what} within {self.settings.timeout:g} s")
        return translate(error, what, where)

    def _give_up_if_busy(self) -> None:
        """Abort if the answer is overdue. One timer serves many statements: it looks again when it fires."""
        loop = asyncio.get_running_loop()
        self._watch = None
        if self._busy_until > loop.time():
            self._watch = loop.call_at(self._busy_until, self._give_up_if_busy)
        elif self._busy_until:
            self.timed_out = True
            self.abort()

    async def setup(self) -> None:
        """Put the session into the state that statements here rely on, in one round trip."""
        settings = self.settings
        engine = dialect_of(self.server_version, settings.where, scheme=settings.scheme).engine
        self.engine = engine = as_node(engine) if settings.cluster else engine
        packet = _SETUP.format(idle=settings.idle_timeout, more=engine.session).encode()
        self.alters, self.whole, self.prepares = False, engine.wraps, engine.prepares
        await self._set_up(packet)
        self.alters = engine.wraps or engine.levels_stay

    async def _set_up(self, packet: bytes) -> None:
        if not self.settings.hosts:
            await self.run(packet, "connection set-up")
            return
        reads_only, is_node, is_ready, *_ = await self.run(_CAN_WRITE + packet, "connection set-up")
        if str(reads_only.rows[0][0]) not in _WRITABLE:
            raise ReadOnlyServerError(f"{self.settings.where}: it is read_only")
        if is_node.rows and not is_ready.rows:
            raise DetachedNodeError(f"{self.settings.where}: its cluster has lost it")

    async def reset(self) -> None:
        """Discard all changes of a user to the session: variables, temporary tables, locks, settings."""
        if not self.engine.resets:
            self.abort()
            return
        try:
            self.ready.clear()
            async with asyncio.timeout(self.settings.timeout):
                await self._execute_command(_COM_RESET_CONNECTION, b"")
                await self._read_ok_packet()
        except BaseException:
            self.abort()
            raise
        await self.setup()
        self.tainted = False

    @property
    def gone(self) -> bool:
        """Whether the server has closed the connection, as far as is known without asking."""
        reader, writer = self._reader, self._writer
        return reader is None or writer is None or reader.at_eof() or writer.transport.is_closing()

    def abort(self) -> None:
        """Drop the connection at once, without sending what is still buffered."""
        self.tainted = True
        if self.borrower is not None:
            self.borrower.abort()
        self.unwatch()
        if self._writer is not None:
            self._stream = self._writer
            self._writer.transport.abort()
        self._writer = None
        self._reader = None

    async def until_closed(self) -> None:
        """Wait until nothing of an aborted or closed connection is left on the event loop, which may end then."""
        stream = self._stream or self._writer
        if stream is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await stream.wait_closed()
        except (OSError, TimeoutError):
            return

    def unwatch(self) -> None:
        """Cancel the timer that watches answers. The next statement sets it again."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def ensure_closed(self) -> None:
        self.unwatch()
        self._stream = self._writer
        await super().ensure_closed()
        await self.until_closed()

    async def _request_authentication(self) -> None:
        """Before the password is sent: require TLS of the server, or do without if it is only preferred."""
        if self.client_flag & CLIENT.SSL and not self.server_capabilities & CLIENT.SSL:
            if self.settings.tls in ("require", "verify"):
                raise StorageConfigurationError(
                    f"{self.settings.where}: the server has no TLS, which tls={self.settings.tls} asks for"
                )
            self.client_flag &= ~CLIENT.SSL
        try:
            await super()._request_authentication()
        finally:
            self._stream = self._writer

    async def _process_auth(self, plugin_name: bytes, auth_packet: object) -> object:
        """Refuse to send the password in clear over an unencrypted connection."""
        if plugin_name == b"mysql_clear_password" and not self._secure:
            raise StorageConfigurationError(
                f"{self.settings.where}: the server asks for the password in clear text; add tls=require to the URL"
            )
        return await super()._process_auth(plugin_name, auth_packet)


async def exchange(connection: aiomysql.Connection, packet: bytes, what: str, where: str) -> list[Answer]:
    """Send a packet over a connection of the caller's, as the driver does, and collect its answers."""
    answers: list[Answer] = []
    try:
        await connection.query(packet)
        while (result := connection._result) is not None:  # noqa: SLF001 - a cursor would parse the text again
            answers.append(Answer(result.rows or (), result.affected_rows))
            if not result.has_next:
                break
            await connection.next_result()
    except (MySQLError, OSError, AttributeError) as error:
        raise exchange_error(error, what, where, closed=connection.closed) from None
    return answers


def exchange_error(error: Exception, what: str, where: str, *, closed: bool) -> Exception:
    """The error to raise for an error that was met on a connection of the caller's."""
    if isinstance(error, MySQLError):
        return translate(error, what, where)
    # If another task closed the connection in the meantime, the driver's reader and writer are None.
    if isinstance(error, AttributeError) and not closed:
        return error
    return ConnectionLostError(f"{where}: the connection broke during {what}")


class Handled:
    """The pool's handling of connections."""

    def is_dead(self, wire: Wire, /) -> bool:
        return wire.tainted or wire.gone

    def drop(self, wire: Wire, /) -> None:
        wire.abort()

    async def close(self, wire: Wire, /) -> None:
        """Close in an orderly way if the state allows, so that the server does not log an aborted connection."""
        try:
            if not self.is_dead(wire):
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await wire.ensure_closed()
        except Exception:  # noqa: BLE001, S110 - abort closes it anyway
            pass
        wire.abort()
        await wire.until_closed()


HANDLING = Handled()


async def connect(settings: Settings) -> Wire:
    """A connection ready for use. `StorageUnavailableError` or `StorageConfigurationError` if there is none."""
    plain_first = settings.tls == "off" or (settings.tls == "prefer" and settings.local)
    try:
        return await _connect(settings, None if plain_first else _tls(settings))
    except _PasswordNeedsTLSError:
        if settings.tls == "off":
            raise StorageConfigurationError(
                f"{settings.where}: the server takes this password only over TLS or with the package `cryptography`; "
                "remove tls=off from the URL or install that package"
            ) from None
    return await _connect(settings, _tls(settings))


class _PasswordNeedsTLSError(Exception):
    """The server wants the password encrypted, and the driver cannot do it by itself."""


async def _connect(settings: Settings, tls: ssl.SSLContext | None) -> Wire:
    password = await _password(settings)
    wire = Wire(
        host=settings.host,
        port=settings.port,
        unix_socket=settings.socket or None,
        user=settings.user,
        password=password.encode().decode("latin1"),  # the driver encodes it with latin1: UTF-8 in effect
        db=settings.database,
        charset="utf8mb4",
        autocommit=None,
        ssl=tls,
        program_name="romancy",
    )
    wire.settings = settings
    wire.ready = {}
    try:
        async with asyncio.timeout(settings.connect_timeout):
            await wire._connect()  # noqa: SLF001 - the driver's own `connect` makes only its own class
        _notice_dead_peers(wire, settings)
        await wire.setup()
    except BaseException as error:  # noqa: BLE001 - it is raised again, translated
        wire.abort()
        await wire.until_closed()
        raise _explained(error, settings) from None
    wire.fresh = True
    return wire


async def _password(settings: Settings) -> str:
    if settings.password_source is None:
        return settings.password
    try:
        async with asyncio.timeout(settings.connect_timeout):
            return await asked(settings.password_source, settings.where)
    except TimeoutError:
        seconds = f"{settings.connect_timeout:g} s"
        raise StorageUnavailableError(f"{settings.where}: no password from password= within {seconds}") from None


def _explained(error: BaseException, settings: Settings) -> BaseException:
    """The error to raise for an error met while connecting."""
    if isinstance(error, TimeoutError):
        seconds = f"{settings.connect_timeout:g} s"
        return StorageUnavailableError(f"{settings.where}: no connection within {seconds}")
    cause = error.__cause__ if isinstance(error, MySQLError) else error
    if isinstance(cause, ssl.SSLError):
        return StorageConfigurationError(f"{settings.where}: TLS failed: {cause.reason or cause}")
    if isinstance(error, MySQLError):
        return translate(error, "connect", settings.where)
    if isinstance(error, TransientError):  # a node of a cluster that waits in vain for the others
        return StorageUnavailableError(f"{settings.where}: the server did not become ready in time")
    if isinstance(error, RuntimeError) and "cryptography" in str(error):
        return _PasswordNeedsTLSError()
    return error


def _tls(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca or None)
        if settings.tls_cert:
            context.load_cert_chain(settings.tls_cert, settings.tls_key or None)
    except (OSError, ssl.SSLError) as error:
        raise StorageConfigurationError(f"{settings.where}: a certificate file cannot be used: {error}") from None
    if settings.tls != "verify":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _notice_dead_peers(wire: Wire, settings: Settings) -> None:
    """Let the kernel notice a dead peer within the statement time-out."""
    writer = wire._writer  # noqa: SLF001 - the driver gives no other access to its socket
    raw = cast("socket.socket | None", None if writer is None else writer.transport.get_extra_info("socket"))
    if raw is None or raw.family not in {socket.AF_INET, socket.AF_INET6}:  # Windows has no AF_UNIX
        return
    seconds = max(3, int(settings.timeout))
    for name, value in (
        ("TCP_KEEPIDLE", seconds // 3),
        ("TCP_KEEPINTVL", max(1, seconds // 6)),
        ("TCP_KEEPCNT", 4),
        ("TCP_USER_TIMEOUT", seconds * 1000),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            raw.setsockopt(socket.IPPROTO_TCP, option, value)


def leaves_level(packet: bytes) -> bool:
    """Whether a packet that sets levels of isolation leaves another one than the usual."""
    return not packet.startswith(_USUAL_LEVEL, packet.rindex(_LEVEL))
