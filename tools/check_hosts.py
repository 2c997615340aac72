r"""Refuse names of package registries and mirrors, and paths and addresses of particular machines.

The tree must install from whatever sources the installing machine is configured for. The patterns are written so that
this file does not match them (`\.` stands where a match needs a dot). Run as `python -m tools.check_hosts`; prints one
line for each offence and exits with 1 if there is any.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from tools import tree

if TYPE_CHECKING:
    from collections.abc import Iterator

REGISTRIES = re.compile(
    r"""(?ix) \b (?:
        (?:[a-z0-9-]+\.)* pypi\.(?:org|io) | (?:test\.)? pypi\.python\.org
      | (?:[a-z0-9-]+\.)? pythonhosted\.org
      | registry\.(?:npmjs\.(?:org|com)|yarnpkg\.com|npmmirror\.com) | (?:static\.|index\.)? crates\.io
      | (?:[a-z0-9-]+\.)+ debian\.(?:org|net) | (?:[a-z0-9-]+\.)+ ubuntu\.com
      | (?:apt|yum|download|ftp)\.postgresql\.org | (?:repo|dev|downloads)\.mysql\.com
      | (?:[a-z0-9-]+\.)* mirror[a-z0-9-]* (?:\.[a-z0-9-]+)* \.(?:com|org|net|io|cn|edu)
      | (?:registry[a-z0-9-]*\.)? docker\.(?:io|com) | ghcr\.io | quay\.io | gcr\.io | mcr\.microsoft\.com
      | (?:[a-z0-9-]+\.)* (?:pkg\.dev|artifactoryonline\.com|jfrog\.io|anaconda\.(?:org|com))
    ) \b"""
)
MACHINE_PATHS = re.compile(r"(?<![\w.~}$*-])/(?:root|home|Users|work|workspaces|mnt|srv|opt)/[\w.-]")
PRIVATE_ADDRESSES = re.compile(r"\b(?:10\.\d{1,3}|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d{1,3}\.\d{1,3}\b")

RULES = (
    (REGISTRIES, "names a registry or mirror; leave the place to the machine's own configuration"),
    (MACHINE_PATHS, "is an absolute path of one machine; make it relative or ask for it"),
    (PRIVATE_ADDRESSES, "is an address in somebody's network; use 127.0.0.1 or ask for it"),
)


def offences_in(name: str, text: str) -> Iterator[str]:
    """Yield one sentence for each match of each rule, with its line."""
    for number, line in enumerate(text.splitlines(), start=1):
        for pattern, reason in RULES:
            for found in pattern.finditer(line):
                yield f"{name}:{number}: {found.group()!r} {reason}"


def main() -> int:
    checked = 0
    offences: list[str] = []
    for path in tree.files():
        content = path.read_bytes()
        if b"\0" in content:
            continue
        checked += 1
        offences += offences_in(tree.name_of(path), content.decode("utf-8", errors="replace"))
    print("\n".join([*offences, f"hosts and paths: {checked} files, {len(offences)} offences"]))
    return bool(offences)


if __name__ == "__main__":
    sys.exit(main())
