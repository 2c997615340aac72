"""Refuse commit subjects that are not `area: imperative` or have more than 72 characters.

The check reads only the last hundred commits, because the rule is younger than the tree. Run as `python -m
tools.check_commits`; prints one line for each offence and exits with 1 if there is any.
"""

from __future__ import annotations

import re
import subprocess
import sys

from tools.tree import ROOT

COMMITS = 100
LONGEST = 72
FORM = re.compile(r"[a-z][\w./-]*(?: [\w./-]+)*(?:, [\w./-]+(?: [\w./-]+)*)*: \S.*[^.]")


def offence_in(subject: str) -> str | None:
    """Return what is wrong with a subject; None if nothing is."""
    if len(subject) > LONGEST:
        return f"{len(subject)} characters, {LONGEST} at most"
    return None if FORM.fullmatch(subject) else "not of the form `area: imperative`"


def main() -> int:
    command = ["git", "log", f"-{COMMITS}", "--no-merges", "--format=%h %s"]
    subjects = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    offences = [
        f"{name}: {wrong}: {subject}"
        for name, _, subject in (line.partition(" ") for line in subjects)
        if (wrong := offence_in(subject)) is not None
    ]
    print("\n".join([*offences, f"commits: {len(subjects)} subjects, {len(offences)} to be written anew"]))
    return bool(offences)


if __name__ == "__main__":
    sys.exit(main())
