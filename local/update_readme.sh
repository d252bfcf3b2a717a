#!/usr/bin/env bash
# For maintainers: the table of a finished run into README.md. No number in it is typed by hand.
set -euo pipefail

help_message="Usage: $0 [<RESULTS.md>]     (default: exp/RESULTS.md)
Copies it to egs/minivox/RESULTS.md and its rows to the block of README.md that is marked 'results'. Refuses results of a
tree with uncommitted changes: run ./run.sh in a clean clone."

. ./path.sh
. utils/parse_options.sh
[ $# -le 1 ] || { echo "$help_message" >&2; exit 1; }
"$IMLKD_PYTHON" -m imlkd.reporting.readme "${1:-exp/RESULTS.md}" egs/minivox/RESULTS.md README.md
