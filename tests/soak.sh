#!/usr/bin/env bash
# Disturb the recipe for hours and see that nothing is lost: see tests/soak.py --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ./path.sh
exec "$IMLKD_PYTHON" -m tests.soak "$@"
