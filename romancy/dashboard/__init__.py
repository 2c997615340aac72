"""The dashboard shows a database in a browser. It comes with the wheel and loads nothing from elsewhere.

It needs the extra: `pip install 'romancy[ui]'`. `asgi(app_or_url)` is an ASGI application to mount or to run;
`romancy ui URL` runs it.
"""

from __future__ import annotations

try:
    from romancy.dashboard._application import Dashboard, asgi
    from romancy.dashboard._auth import Auth, anyone
    from romancy.web.visitor import Visitor
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in {"jinja2", "starlette"}:
        raise
    raise ModuleNotFoundError(
        f"romancy.dashboard needs {error.name}; install the extra: pip install 'romancy[ui]'", name=error.name
    ) from None

__all__ = ["Auth", "Dashboard", "Visitor", "anyone", "asgi"]
