#!/usr/bin/env bash
# Stage 2: train a teacher on speaker labels, or import a published one and fit its speaker head.
set -euo pipefail

cmd=run.pl
teacher=own
weights=
conf=egs/minivox/conf
nproc=1
ngpu=0
nodes=
allow_pipes=false
force=false
help_message="Usage: $0 [options] <data-dir> <teacher-dir>
  --teacher NAME             own, resemblyzer, or what --weights are: speechbrain, wespeaker, 3dspeaker, torchaudio, onnx,
                             model, xvectors; or several as KIND:PATH,KIND:PATH (default: $teacher)
  --weights PATH             of the published teacher (default: those of its installed package)
  --conf DIR                 holds teacher.yaml and head.yaml (default: $conf)
  --cmd CMD                  job runner (default: $cmd)
  --nproc N                  processes of each machine that train one model (default: $nproc)
  --ngpu N                   GPUs of each machine, a process each (default: $ngpu)
  --nodes N                  machines (default: those of the Slurm job, or one)
  --allow-pipes true|false   run commands in wav.scp (default: $allow_pipes)
  --force true|false         redo (default: $force)
Leaves final.pt, model.yaml, config.yaml and speakers in <teacher-dir>."

. ./path.sh
. utils/parse_options.sh
[ $# -eq 2 ] || { echo "$help_message" >&2; exit 1; }
forced=()
[ "$force" = false ] || forced=(--force)
data=$1
dir=$2

[ -f "$data/.done.features" ] || { echo "$0: $data: no finished features: run stage 1 first (./run.sh --stage 1)" >&2; exit 1; }
if [ "$teacher" = own ]; then
  made_from=(--from "$conf/teacher.yaml" --code imlkd.training.teacher)
  work=(train-teacher "$data" "$dir" --config "$conf/teacher.yaml")
  train=(local/train.sh --nproc "$nproc" --ngpu "$ngpu" ${nodes:+--nodes "$nodes"})
  needs=(--gpu "$ngpu" ${nodes:+--nodes "$nodes"})
else
  train=(local/train.sh)
  needs=()
  made_from=(--from "$conf/head.yaml" --code imlkd.training.imported_teacher)
  IFS=, read -r -a members <<< "$teacher"
  for member in "${members[@]}"; do # KIND, or of several KIND:PATH
    [[ $member != *:* ]] || { made_from+=(--from "${member#*:}"); continue; }
    [ -n "$weights" ] || [ ! -f local/install_"$member".sh ] || local/install_"$member".sh
  done
  work=(import-teacher "$teacher" "$data" "$dir" --config "$conf/head.yaml" --threads 0)
  [ -z "$weights" ] || { made_from+=(--from "$weights"); work+=(--weights "$weights"); }
fi
[ "$allow_pipes" = false ] || work+=(--allow-pipes)
status=0
imlkd marker check "$dir/.done" --name "stage 2 ($teacher)" --data "$data" --value "teacher=$teacher" "${made_from[@]}" \
  "${forced[@]}" || status=$?
[ $status -eq 3 ] || exit $status

imlkd watch "teacher $teacher" "$dir/log" train \
  $cmd "${needs[@]}" JOB=1:1 "$dir/log/train.JOB.log" \
  "${train[@]}" imlkd model "${work[@]}" --progress "$dir/log/train.JOB.progress"
imlkd marker write "$dir/.done" --output "$dir/final.pt" --output "$dir/model.yaml" --output "$dir/config.yaml" \
  --output "$dir/speakers"
