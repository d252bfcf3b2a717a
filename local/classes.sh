#!/usr/bin/env bash
# Stage 2 without labels: a teacher whose classes are made of its own embeddings of the students' training set.
set -euo pipefail

cmd=run.pl
weights=
classes=clusters:100
allow_pipes=false
force=false
help_message="Usage: $0 [options] <teacher> <data-dir> <teacher-dir>
  <teacher>                  resemblyzer, or what --weights are (local/teacher.sh); model: one that was trained here
  --classes KIND             recordings, or clusters:K (default: $classes)
  --weights PATH             of the teacher (default: those of its installed package)
  --cmd CMD                  job runner (default: $cmd)
  --allow-pipes true|false   run commands in wav.scp (default: $allow_pipes)
  --force true|false         redo (default: $force)
Leaves final.pt, model.yaml, config.yaml, speakers (the classes) and utt2class in <teacher-dir>."

. ./path.sh
. utils/parse_options.sh
[ $# -eq 3 ] || { echo "$help_message" >&2; exit 1; }
forced=()
[ "$force" = false ] || forced=(--force)
teacher=$1
data=$2
dir=$3

[ -f "$data/.done.features" ] || { echo "$0: $data: no finished features: run stage 1 first (./run.sh --stage 1)" >&2; exit 1; }
made_from=()
work=(--classes "$classes" --threads 0)
IFS=, read -r -a members <<< "$teacher"
for member in "${members[@]}"; do # KIND, or of several KIND:PATH
  [[ $member != *:* ]] || { made_from+=(--from "${member#*:}"); continue; }
  [ -n "$weights" ] || [ ! -f local/install_"$member".sh ] || local/install_"$member".sh
done
if [ "$teacher" = model ]; then
  [ -f "$weights/.done" ] || { echo "$0: $weights: no finished teacher: run stage 2 first (./run.sh --stage 2)" >&2; exit 1; }
  made_from+=(--from "$weights/final.pt" --from "$weights/model.yaml")
  work+=(--weights "$weights")
elif [ -n "$weights" ]; then
  made_from+=(--from "$weights")
  work+=(--weights "$weights")
fi
[ "$allow_pipes" = false ] || work+=(--allow-pipes)
status=0
imlkd marker check "$dir/.done" --name "stage 2 ($teacher, $classes)" --data "$data" --value "teacher=$teacher" \
  --value "classes=$classes" "${made_from[@]}" --code imlkd.training.classes "${forced[@]}" || status=$?
[ $status -eq 3 ] || exit $status

imlkd watch "classes $classes" "$dir/log" classes \
  $cmd JOB=1:1 "$dir/log/classes.JOB.log" \
  imlkd model classes "$teacher" "$data" "$dir" "${work[@]}" --progress "$dir/log/classes.JOB.progress"
outputs=()
for name in final.pt model.yaml config.yaml speakers utt2class; do outputs+=(--output "$dir/$name"); done
imlkd marker write "$dir/.done" "${outputs[@]}"
