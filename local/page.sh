#!/usr/bin/env bash
# Stage 7: the page of every student, report/index.html in its folder; after table and export, which it shows.
set -euo pipefail

command=
bootstrap=1000
audio=true
teacher_scored=true
allow_pipes=false
force=false
help_message="Usage: $0 [options] <sets.yaml> <data> <exp> <teacher-dir> <student-dir>...
  --command TEXT            the command that made the results, for the record
  --bootstrap N             draws of speakers for the 95 % intervals (default: $bootstrap)
  --audio true|false        put clips of the corpus into the pages (default: $audio)
  --teacher-scored true|false  false: a table of embeddings that lacks the test sets (default: $teacher_scored)
  --allow-pipes true|false  run commands in wav.scp (default: $allow_pipes)
  --force true|false        redo (default: $force)
Reads what stages 2 to 7 left of the models; leaves <student-dir>/report/index.html."

. ./path.sh
. utils/parse_options.sh
[ $# -ge 5 ] || { echo "$help_message" >&2; exit 1; }
forced=()
[ "$force" = false ] || forced=(--force)
exp=$3
options=(--bootstrap "$bootstrap")
what=(--page)
[ "$audio" = true ] || options+=(--no-audio)
[ "$allow_pipes" = false ] || options+=(--allow-pipes)
[ "$teacher_scored" = true ] || what+=(--teacher-unscored)

inputs=$(imlkd recipe report-inputs "$1" "$2" "${@:4}" "${what[@]}")
mapfile -t made_from <<< "$inputs"
outputs=()
for model in "${@:5}"; do
  outputs+=(--output "$model/report/index.html")
done
status=0
imlkd marker check "$exp/.done.page" --name "stage 7 (page)" --from "$1" --from imlkd/reporting/page/templates \
  --value "command=$command" --value "bootstrap=$bootstrap" --value "audio=$audio" "${made_from[@]}" \
  --table wav.scp --table segments --table utt2spk --table reco2sha256 --code imlkd.reporting.page.stage "${forced[@]}" || status=$?
[ $status -eq 3 ] || exit $status
imlkd report "$@" --command "$command" "${what[@]}" "${options[@]}"
imlkd marker write "$exp/.done.page" "${outputs[@]}"
