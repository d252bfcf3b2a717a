#!/usr/bin/env bash
# Kill trainings at random moments and see that they end with the same weights: see tests/kill_training.py --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ./path.sh
exec "$IMLKD_PYTHON" tests/kill_training.py "$@"
