#!/usr/bin/env bash
# Stage 4: one student for each method, as parallel jobs.
set -euo pipefail

nj=2
nproc=1
ngpu=0
nodes=
lm_epochs=0
cmd=run.pl
conf=egs/minivox/conf
set=
gate=
allow_pipes=false
force=false
help_message="Usage: $0 [options] <method,method...> <data-dir> <targets-dir> <student-prefix>
  --nj N              processes at a time (default: $nj)
  --nproc N           processes of each machine that train one student (default: $nproc)
  --ngpu N            GPUs of each machine, a process each (default: $ngpu)
  --nodes N           machines (default: those of the Slurm job, or one)
  --lm-epochs N       then fine-tune each with a large margin into <student-prefix>_METHOD_lm (default: $lm_epochs)
  --cmd CMD           job runner (default: $cmd)
  --conf DIR          holds student.yaml and METHOD.yaml (default: $conf)
  --set 'K=V ...'     override keys of student.yaml
  --gate NAME         integrated input: soft, tf, top, add, del, path, perm, energy, id (default: gate.kind of student.yaml)
  --allow-pipes true|false  run commands in wav.scp (default: $allow_pipes)
  --force true|false  redo (default: $force)
Leaves final.pt, model.yaml, config.yaml and method.yaml in <student-prefix>_METHOD."

. ./path.sh
. utils/parse_options.sh
[ $# -eq 4 ] || { echo "$help_message" >&2; exit 1; }
forced=()
[ "$force" = false ] || forced=(--force)
methods=$1
data=$2
targets=$3
prefix=$4
set="${gate:+gate.kind=$gate }$set"
[ -f "$targets/.done" ] || { echo "$0: $targets: no finished targets: run stage 3 first (./run.sh --stage 3)" >&2; exit 1; }

train_all() { # suffix: the students, or their fine-tuned copies
  local dir made_from method status logs=${prefix}_log name=distil$1 waiting=() lm=() at_once=()
  [ -z "$1" ] || lm=(--lm-epochs "$lm_epochs")
  for method in ${methods//,/ }; do
    dir=${prefix}_$method$1
    made_from=(--from "$conf/student.yaml" --from "$targets" --data "$data" --value "method=$method" --value "set=$set")
    [ ! -f "$conf/$method.yaml" ] || made_from+=(--from "$conf/$method.yaml")
    [ -z "$1" ] || made_from+=(--from "${prefix}_$method/final.pt" --value "lm-epochs=$lm_epochs")
    status=0
    imlkd marker check "$dir/.done" --name "stage 4 ($method$1)" "${made_from[@]}" --code imlkd.training.student \
      "${forced[@]}" || status=$?
    [ $status -eq 0 ] && continue
    [ $status -eq 3 ] || exit $status
    waiting+=("$method")
  done
  [ ${#waiting[@]} -gt 0 ] || return 0

  # With GPUs it is their number that says how many train side by side, and the runner knows it.
  [ "$ngpu" -gt 0 ] || at_once=(--max-jobs-run "$((nj > nproc ? nj / nproc : 1))")
  imlkd watch "distil ${waiting[*]/%/$1}" "$logs" "$name" \
    $cmd "${at_once[@]}" --gpu "$ngpu" ${nodes:+--nodes "$nodes"} JOB=1:${#waiting[@]} "$logs/$name.JOB.log" \
    local/distil_one.sh --nproc "$nproc" --ngpu "$ngpu" ${nodes:+--nodes "$nodes"} "${lm[@]}" --allow-pipes "$allow_pipes" --conf "$conf" --set "$set" --progress "$logs/$name.JOB.progress" \
    JOB "$data" "$targets" "$prefix" "${waiting[@]}"
}

train_all ""
[ "$lm_epochs" -eq 0 ] || train_all _lm
