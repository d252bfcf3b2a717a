#!/usr/bin/env bash
# The tests: sets up the environment on first use, then runs pytest. `--all` includes the slow ones.
set -euo pipefail
cd "$(dirname "$0")/.."

help_message="Usage: $0 [--all] [pytest arguments]
  --all   also the tests marked slow (see docs/tests.md for their times)
Files of tests run side by side, one a core, at most 4; with -n 0 one after the other, as a debugger needs it.
Tests on real speech need SVMINI=/path/to/svmini and are skipped without it, visibly."
case "${1:-}" in -h | --help) echo "$help_message"; exit 0 ;; esac

[ -n "${IMLKD_PYTHON:-}" ] || utils/make_venv.sh --dev
. ./path.sh
selection=()
if [ "${1:-}" = --all ]; then
  selection=(-m "slow or not slow")
  shift
fi
cores=$(nproc)
# Each core begins at its own end and takes from the other when done: what a file makes for its tests is made once, or twice.
workers=(-n $((cores < 4 ? cores : 4)) --dist worksteal)
if ! "$IMLKD_PYTHON" -c 'import xdist' 2> /dev/null; then
  echo "$0: pytest-xdist is not in this environment: one test at a time" >&2
  workers=()
fi
exec "$IMLKD_PYTHON" -m pytest -rs --durations=15 "${workers[@]}" "${selection[@]}" "$@"
