"""An MCP server in a process of its own. It notes that it began, and dies once in a call if a file says so."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mcp.server import MCPServer

server = MCPServer("noting")


@server.tool()
async def add(a: int, b: int) -> int:
    """Add."""
    order = Path(sys.argv[1]).with_suffix(".die")
    if order.exists():
        order.unlink()
        os._exit(3)
    return a + b


if __name__ == "__main__":
    with Path(sys.argv[1]).open("a", encoding="utf-8") as ledger:
        ledger.write(f"began {os.getpid()}\n")
    server.run("stdio")
