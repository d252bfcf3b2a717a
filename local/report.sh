#!/usr/bin/env bash
# Stage 7: the result table of all models, printed and written to RESULTS.md.
set -euo pipefail

command=
force=false
help_message="Usage: $0 [options] <sets.yaml> <data> <exp> <model-dir>...
  --command TEXT      the command that made the results, for the record
  --force true|false  redo (default: $force)
Leaves RESULTS.md and results.txt (the table as printed) in <exp>, and report/{row.md,det.*.tsv} in each model's folder."

. ./path.sh
. utils/parse_options.sh
[ $# -ge 4 ] || { echo "$help_message" >&2; exit 1; }
forced=()
[ "$force" = false ] || forced=(--force)
exp=$3

inputs=$(imlkd recipe report-inputs "$1" "$2" "${@:4}")
mapfile -t made_from <<< "$inputs"
status=0
imlkd marker check "$exp/.done.report" --name "stage 7" --from "$1" --value "command=$command" "${made_from[@]}" \
  --code imlkd.reporting.stage "${forced[@]}" || status=$?
case $status in
  0) cat "$exp/results.txt" ;;
  3)
    imlkd report "$@" --command "$command"
    imlkd marker write "$exp/.done.report" --output "$exp/RESULTS.md" --output "$exp/results.txt"
    ;;
  *) exit $status ;;
esac
