"""The socket of a command that serves HTTP."""

from __future__ import annotations

import socket

import click

__all__ = ["address_of", "listener_at"]


def listener_at(host: str, port: int) -> socket.socket:
    """A socket that listens there; click.ClickException if that is impossible."""
    try:
        (family, *_, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise click.ClickException(f"cannot listen at {host}, port {port}: {error.strerror}") from None


def address_of(listener: socket.socket) -> str:
    """Where it listens, as a URL without a path."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
