"""The usual ways to put nginx, HAProxy and Caddy before an HTTP server, and some careless ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_NGINX: Final = """\
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr;
events {{ worker_connections 64; }}
http {{ access_log off; proxy_buffering off; client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2;
 fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
 server {{ listen 127.0.0.1:{port}{tls}; server_name shop.example.com;
  location / {{ proxy_pass http://{upstream}; {body} }} }} }}
"""
_NGINX_TLS: Final = " ssl; ssl_certificate {folder}/certificate; ssl_certificate_key {folder}/key"
_HAPROXY: Final = """\
defaults
  mode {mode}
  timeout connect 10s
  timeout client 60s
  timeout server 60s
{body}
frontend shop
  bind 127.0.0.1:{port}{tls}
  default_backend app
backend app
  server one {upstream}
"""
_CADDY: Final = """\
{{
  admin off
  auto_https off
}}
{scheme}://:{port} {{
  bind 127.0.0.1
  {tls}
  reverse_proxy {upstream} {{
    {body}
  }}
}}
"""
_HOST: Final = "proxy_set_header Host $host;"
_FORWARDED: Final = (
    f"{_HOST} proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; "
    "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
)
_SILENT: Final = (
    "header_up -X-Forwarded-For\n    header_up -X-Forwarded-Proto\n    header_up -X-Forwarded-Host\n"
    "    header_up Host {upstream_hostport}"
)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """One proxy with its settings."""

    program: str
    name: str
    body: str = ""
    passes_host: bool = True
    """Whether the server sees the Host that the client sent. Otherwise it sees its own."""
    tells: bool = True
    """Whether a header says that the request was forwarded."""
    https: bool = False
    mode: str = "http"
    http_1_0: bool = False
    """Whether the proxy speaks HTTP/1.0 to the server, as nginx did by itself before 1.29.7."""

    def __str__(self) -> str:
        return f"{self.program}, {self.name}"

    def settings(self, folder: Path, port: int, upstream: str) -> str:
        """The text of the configuration file."""
        values = {"folder": folder, "port": port, "upstream": upstream, "body": self.body, "mode": self.mode}
        if self.program == "nginx":
            return _NGINX.format(**values, tls=_NGINX_TLS.format(folder=folder) if self.https else "")
        if self.program == "haproxy":
            return _HAPROXY.format(**values, tls=f" ssl crt {folder}/both" if self.https else "")
        tls = f"tls {folder}/certificate {folder}/key" if self.https else ""
        return _CADDY.format(**values, tls=tls, scheme="https" if self.https else "http")


ARRANGEMENTS: Final = (
    Arrangement("nginx", "plain proxy_pass", "proxy_http_version 1.0;", passes_host=False, tells=False, http_1_0=True),
    Arrangement(
        "nginx", "proxy_pass over HTTP/1.1", 'proxy_http_version 1.1; proxy_set_header Connection "";',
        passes_host=False, tells=False,
    ),
    Arrangement("nginx", "with the Host", f"proxy_http_version 1.1; {_HOST}", tells=False),
    Arrangement("nginx", "as its guides have it", _FORWARDED),
    Arrangement("nginx", "with Forwarded", 'proxy_set_header Forwarded "for=$remote_addr";', passes_host=False),
    Arrangement("nginx", "before it TLS", _FORWARDED, https=True),
    Arrangement("haproxy", "by itself", tells=False),
    Arrangement("haproxy", "as a TCP proxy", tells=False, mode="tcp"),
    Arrangement("haproxy", "with forwardfor", "  option forwardfor"),
    Arrangement("haproxy", "before it TLS", "  option forwardfor", https=True),
    Arrangement("caddy", "by itself"),
    Arrangement("caddy", "silenced", _SILENT, passes_host=False, tells=False),
    Arrangement("caddy", "before it TLS", https=True),
)  # fmt: skip
