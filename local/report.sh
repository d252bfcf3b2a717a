#!/usr/bin/env bash
# Stage 7: the result table of all models, printed and written to RESULTS.md.
set -euo pipefail

command=
help_message="Usage: $0 [options] <sets.yaml> <data> <exp> <teacher-dir> <student-dir>...
  --command TEXT      the command that made the results, for the record
Leaves <exp>/RESULTS.md, and report/{row.md,det.*.tsv} in each student folder."

. ./path.sh
. utils/parse_options.sh
[ $# -ge 5 ] || { echo "$help_message" >&2; exit 1; }
imlkd report "$@" --command "$command"
