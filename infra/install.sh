#!/usr/bin/env bash
# Make a virtual environment from requirements.lock, hashes required. Usage: install.sh PYTHON VENV
set -euo pipefail
python=$1 venv=$2

"$python" -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || {
  echo "sanche needs Python 3.11 or newer; $python is $("$python" --version 2>&1)" >&2
  echo "do    make PYTHON=/path/to/python3.11 …" >&2
  exit 1
}
if ! "$python" -m venv "$venv" 2>/dev/null; then
  # Debian splits ensurepip off; without root the message says what to ask for.
  if [ "$(id -u)" = 0 ]; then
    apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
    "$python" -m venv "$venv"
  else
    echo "cannot make a virtual environment: Debian's package python3-venv is missing" >&2
    echo "do    ask root for: apt-get install python3-venv" >&2
    exit 1
  fi
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r infra/bootstrap.lock
# Compiled once here: where PYTHONDONTWRITEBYTECODE is set, each process would compile what it imports anew.
install=("$venv/bin/uv" pip install --quiet --compile-bytecode --python "$venv/bin/python")
# An index cache that is behind can miss a fresh release: ask once more, past the cache.
"${install[@]}" --require-hashes -r requirements.lock ||
  "${install[@]}" --refresh --require-hashes -r requirements.lock
"${install[@]}" --no-deps --no-build-isolation -e .
