#!/usr/bin/env bash
# Kill the recipe at random moments and see that it ends with the same scores: see tests/kill_recipe.py --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ./path.sh
exec "$IMLKD_PYTHON" tests/kill_recipe.py "$@"
