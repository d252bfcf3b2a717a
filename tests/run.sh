#!/usr/bin/env bash
# The tests: sets up the environment on first use, then runs pytest. `--all` includes the slow ones.
set -euo pipefail
cd "$(dirname "$0")/.."

help_message="Usage: $0 [--all] [pytest arguments]
  --all   also the tests marked slow (see docs/tests.md for their times)
Tests on real speech need SVMINI=/path/to/svmini and are skipped without it, visibly."
case "${1:-}" in -h | --help) echo "$help_message"; exit 0 ;; esac

[ -n "${IMLKD_PYTHON:-}" ] || utils/make_venv.sh --dev
. ./path.sh
selection=()
if [ "${1:-}" = --all ]; then
  selection=(-m "slow or not slow")
  shift
fi
exec "$IMLKD_PYTHON" -m pytest -rs --durations=15 "${selection[@]}" "$@"
