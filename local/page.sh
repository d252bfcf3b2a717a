#!/usr/bin/env bash
# Stage 7: the page of every student, report/index.html in its folder; after table and export, which it shows.
set -euo pipefail

command=
bootstrap=1000
audio=true
allow_pipes=false
force=false
help_message="Usage: $0 [options] <sets.yaml> <data> <exp> <teacher-dir> <student-dir>...
  --command TEXT            the command that made the results, for the record
  --bootstrap N             draws of speakers for the 95 % intervals (default: $bootstrap)
  --audio true|false        put clips of the corpus into the pages (default: $audio)
  --allow-pipes true|false  run commands in wav.scp (default: $allow_pipes)
  --force true|false        redo (default: $force)
Reads what stages 2 to 7 left of the models; leaves <student-dir>/report/index.html."

. ./path.sh
. utils/parse_options.sh
[ $# -ge 5 ] || { echo "$help_message" >&2; exit 1; }
forced=()
[ "$force" = false ] || forced=(--force)
exp=$3
teacher=$4

lists="" test_sets="" train_set=""
sets=$(imlkd recipe sets "$1")
eval "$sets"
options=(--command "$command" --bootstrap "$bootstrap")
made_from=(--from "$1" --value "command=$command" --value "bootstrap=$bootstrap" --value "audio=$audio")
[ "$audio" = true ] || options+=(--no-audio)
[ "$allow_pipes" = false ] || options+=(--allow-pipes)
made_from+=(--from imlkd/reporting/page/templates)
[ ! -f "$teacher/targets_$train_set/config.yaml" ] || made_from+=(--from "$teacher/targets_$train_set/config.yaml")
for model in "${@:4}"; do
  for file in final.pt model.yaml config.yaml method.yaml log/train.jsonl log/seconds export/export.json; do
    [ ! -f "$model/$file" ] || made_from+=(--from "$model/$file")
  done
  for list in $lists; do
    made_from+=(--from "$model/scores/$list" --from "$model/metrics/$list.json")
  done
done
for list in $lists; do
  made_from+=(--from "$2/$list")
done
for set in $test_sets; do
  made_from+=(--data "$2/$set" --table wav.scp --table segments --table utt2spk --table reco2sha256)
done
outputs=()
for model in "${@:5}"; do
  outputs+=(--output "$model/report/index.html")
done
status=0
imlkd marker check "$exp/.done.page" --name "stage 7 (page)" "${made_from[@]}" --code imlkd.reporting.page.stage \
  "${forced[@]}" || status=$?
[ $status -eq 3 ] || exit $status
imlkd report "$@" --page "${options[@]}"
imlkd marker write "$exp/.done.page" "${outputs[@]}"
