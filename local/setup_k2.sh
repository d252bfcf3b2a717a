#!/usr/bin/env bash
# Make .venv-k2: k2 beside the torch and the Python that it is built for, or finish a half-made one.
set -euo pipefail

help_message="Usage: $0
Installs requirements-k2.txt into .venv-k2 with a Python 3.9 from PATH or pyenv, or with the one that PYTHON39 names.
Once, in about a minute; needs 3.5 GB. At once when it is complete. Only the backend k2 of segments uses it, and the recipe
does without: the backend numpy gives the same.
Exit status: 0 there is one, 77 this machine has no Python 3.9, 1 it could not be made."

cd "$(dirname "${BASH_SOURCE[0]}")/.."
case "${1:-}" in
  "") ;;
  -h | --help) echo "$help_message"; exit 0 ;;
  *) echo "$help_message" >&2; exit 1 ;;
esac
venv=$PWD/.venv-k2
lacking=77

fail() { echo "$0: $*" >&2; exit 1; }

is_39() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 9))' 2> /dev/null; }

find_python() { # a pyenv shim may be on PATH and start nothing
  local python
  if [ -n "${PYTHON39:-}" ]; then
    is_39 "$PYTHON39" || fail "PYTHON39=$PYTHON39: not a Python 3.9 that starts: mend or unset it"
    echo "$PYTHON39"
    return
  fi
  for python in python3.9 "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.9.*/bin/python; do
    if command -v "$python" > /dev/null && is_39 "$python"; then
      command -v "$python"
      return
    fi
  done
  echo "$0: no Python 3.9 on PATH or in pyenv, so no environment for k2: install one (pyenv install 3.9), or do without" >&2
  exit $lacking
}

complete() { [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.complete" 2> /dev/null)" = "$stamp" ] && is_39 "$venv/bin/python"; }

stamp=$(cksum < requirements-k2.txt)
if complete; then
  echo "$0: $venv is complete"
  exit 0
fi
exec 9> .venv-k2.lock
flock 9 # a second start waits for the first
if complete; then exit 0; fi
trap 'trap "" INT; echo "$0: interrupted: run the same command again to go on" >&2; exit 130' INT
rm -f "$venv/.complete"
if ! { is_39 "$venv/bin/python" && "$venv/bin/python" -m pip --version > /dev/null 2>&1; }; then
  python=$(find_python)
  echo "$0: making $venv with $("$python" --version) (once; needs 3.5 GB)" >&2
  rm -rf "$venv"
  said=$("$python" -m venv "$venv" 2>&1) || fail "$venv: could not be made: $(tail -n 1 <<< "$said")"
fi
said=$("$venv/bin/python" -m pip install --no-deps --disable-pip-version-check -r requirements-k2.txt 2>&1) ||
  fail "pip could not install requirements-k2.txt into $venv: $(grep -m 1 '^ERROR' <<< "$said" || tail -n 1 <<< "$said")"
said=$(PYTHONPATH=$PWD "$venv/bin/python" -c 'import imlkd.attribution.segmentation.k2_backend' 2>&1) ||
  fail "k2 does not import in $venv ($(tail -n 1 <<< "$said")): remove it and run this again"
echo "$stamp" > "$venv/.complete"
echo "$0: $venv is ready"
