#!/usr/bin/env bash
# Stage 7: the result table of all models, printed and written to RESULTS.md.
set -euo pipefail

command=
force=false
help_message="Usage: $0 [options] <sets.yaml> <data> <exp> <teacher-dir> <student-dir>...
  --command TEXT      the command that made the results, for the record
  --force true|false  redo (default: $force)
Leaves RESULTS.md and results.txt (the table as printed) in <exp>, and report/{row.md,det.*.tsv} in each model's folder."

. ./path.sh
. utils/parse_options.sh
[ $# -ge 5 ] || { echo "$help_message" >&2; exit 1; }
forced=()
[ "$force" = false ] || forced=(--force)
exp=$3

lists=""
sets=$(imlkd recipe sets "$1")
eval "$sets"
made_from=(--from "$1" --value "command=$command")
for model in "${@:4}"; do
  for file in final.pt model.yaml config.yaml log/seconds; do
    [ ! -f "$model/$file" ] || made_from+=(--from "$model/$file")
  done
  for list in $lists; do
    [ -f "$model/metrics/$list.json" ] || { echo "$0: $model/metrics/$list.json: not there: run stage 6 first (./run.sh --stage 6)" >&2; exit 1; }
    made_from+=(--from "$model/scores/$list" --from "$model/metrics/$list.json")
  done
done
status=0
imlkd marker check "$exp/.done.report" --name "stage 7" "${made_from[@]}" --code imlkd.reporting.stage "${forced[@]}" ||
  status=$?
case $status in
  0) cat "$exp/results.txt" ;;
  3)
    imlkd report "$@" --command "$command"
    imlkd marker write "$exp/.done.report" --output "$exp/RESULTS.md" --output "$exp/results.txt"
    ;;
  *) exit $status ;;
esac
