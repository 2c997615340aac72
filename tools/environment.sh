#!/bin/sh
# Makes or repairs the virtual environment that every make target uses. It needs only Python >= 3.11.
#
#   sh tools/environment.sh PYTHON VENV
#
# It installs the packages of requirements/dev.txt, with their hashes checked, and this tree as an editable package.
# The file pins every package, so nothing is resolved: pip before 23.3 refuses `pydantic[email]` beside `pydantic==2.14.3`.
# On Debian the venv module is a separate package: root installs it, and others get the command to run.
set -eu

asked=${1:-python3}
venv=${2:-.venv}

say() { printf '%s\n' "environment: $*" >&2; }
fail() { say "$*"; exit 1; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' </dev/null >/dev/null 2>&1; }
can_make_venvs() { "$1" -c 'import ensurepip, venv' </dev/null >/dev/null 2>&1; }

find_python() {
    for candidate in "$asked" python3 python3.15 python3.14 python3.13 python3.12 python3.11 python; do
        if is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer: '$asked' and python3 to python3.15 are absent or older." \
        "Install one, or name it: make PYTHON=/path/to/python3.11"
}

install_venv_module() {
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    package="python$version-venv"
    if ! command -v apt-get >/dev/null 2>&1; then
        fail "$1 has no venv and ensurepip modules; install them, or name another Python: make PYTHON=…"
    fi
    if [ "$(id -u)" != 0 ]; then
        fail "$1 has no venv and ensurepip modules. Run: sudo apt-get install $package"
    fi
    say "installing $package"
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    { apt-get update -q && apt-get install -q -y --no-install-recommends "$package"; } </dev/null >&2 ||
        fail "apt-get could not install $package; its messages are above"
}

was_moved() { # the Makefile writes the folder of the tree into .ready
    made_for=$(cat "$venv/.ready" 2>/dev/null || true)
    [ -n "$made_for" ] && [ "$made_for" != "$(pwd -P)" ] && [ "$made_for" != "$PWD" ]
}

if was_moved || ! is_new_enough "$venv/bin/python" || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    can_make_venvs "$python" || install_venv_module "$python"
    say "making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1
export PIP_NO_INPUT=1
"$venv/bin/python" -m pip install --quiet --no-deps --require-hashes -r requirements/dev.txt
"$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable .
say "ready: $venv ($("$venv/bin/python" --version))"
