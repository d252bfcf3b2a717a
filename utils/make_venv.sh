#!/usr/bin/env bash
# Make .venv beside path.sh from exact pins, or finish a half-made one; at once when it is complete.
set -euo pipefail

help_message="Usage: $0 [--dev] | --check PYTHON
  (no option)     what the recipe needs (requirements.txt)
  --dev           also what the tests need (requirements-dev.txt)
  --check PYTHON  only see whether PYTHON is one that the recipe can use"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
# A Ctrl-C in Python's first moments would be a traceback: the calling shell takes it in.
hold=${IMLKD_HOLD_INTERRUPT:-}
version_test='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
version_print='import sys; print(*sys.version_info[:2], sep=".")'

die() { echo "make_venv.sh: $*" >&2; exit 1; }

check_python() {
  $hold "$1" -c '' 2>/dev/null || die "$1: not a Python that starts: set IMLKD_PYTHON to one, or unset it"
  $hold "$1" -c "$version_test" || die "$1 is Python $($hold "$1" -c "$version_print"): 3.11 to 3.13 is needed (3.11 is the tested one)"
  say_untested "$1"
}

say_untested() {
  local version
  version=$($hold "$1" -c "$version_print")
  [ "$version" = 3.11 ] || echo "make_venv.sh: $1 is Python $version; 3.11 is the tested one" >&2
}

find_python() {
  local name
  for name in python3.11 python3.12 python3.13 python3; do
    if command -v "$name" >/dev/null && $hold "$name" -c "$version_test" 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  die "no Python 3.11 to 3.13 on PATH (found: $(python3 --version 2>&1 || true)): install python3.11 with its venv module, or set IMLKD_PYTHON"
}

# The stamp names the pins that were installed to the end; one that differs, or lacks, means work to do.
stamp_of() { cat "$@" | cksum; }

install() { # stamp-name requirements-file...
  local name=$1 stamp
  shift
  stamp=$(stamp_of "$@")
  [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.complete-$name" 2>/dev/null)" = "$stamp" ] && return 0
  rm -f "$venv/.complete-$name"
  if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    local python
    python=$(find_python)
    say_untested "$python"
    echo "setting up $venv with $("$python" --version) (once; needs about 5.5 GB)" >&2
    rm -rf "$venv"
    local said
    said=$("$python" -m venv "$venv" 2>&1) ||
      die "$venv: could not be made ($(tail -n 1 <<<"$said")): does $python have its venv module (Debian: apt install python3-venv)?"
  fi
  echo "installing $(cat "$@" | grep -c '^[A-Za-z]') pinned packages ($name) into $venv" >&2
  local files=() file
  for file in "$@"; do files+=(-r "$file"); done
  "$venv/bin/python" -m pip install --no-deps --disable-pip-version-check --progress-bar on "${files[@]}" >&2 ||
    die "the packages could not be installed: see above; run the same command again to go on"
  echo "$stamp" > "$venv/.complete-$name"
}

case "${1:-}" in
  --check) check_python "${2:?$help_message}"; exit 0 ;;
  --dev) wanted=dev ;;
  "") wanted=recipe ;;
  *) echo "$help_message" >&2; exit 1 ;;
esac

lists=("$root/requirements.txt")
[ $wanted = dev ] && lists+=("$root/requirements-dev.txt")
[ "$(cat "$venv/.complete-$wanted" 2>/dev/null)" = "$(stamp_of "${lists[@]}")" ] && [ -x "$venv/bin/python" ] && exit 0
trap 'trap "" INT; echo "make_venv.sh: interrupted: run the same command again to go on" >&2; exit 130' INT
exec 9>"$root/.venv.lock"
flock 9   # a second start waits for the first
install "$wanted" "${lists[@]}"
