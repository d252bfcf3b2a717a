#!/usr/bin/env bash
# Stage 4: one student for each method, as parallel jobs.
set -euo pipefail

nj=2
nproc=1
cmd=run.pl
conf=egs/minivox/conf
set=
gate=
force=false
help_message="Usage: $0 [options] <method,method...> <data-dir> <targets-dir> <student-prefix>
  --nj N              processes at a time (default: $nj)
  --nproc N           processes that train one student (default: $nproc)
  --cmd CMD           job runner (default: $cmd)
  --conf DIR          holds student.yaml and METHOD.yaml (default: $conf)
  --set 'K=V ...'     override keys of student.yaml
  --gate NAME         integrated input: soft, tf, top, add, del, path, perm, energy, id (default: gate.kind of student.yaml)
  --force true|false  redo (default: $force)
Leaves final.pt, model.yaml, config.yaml and method.yaml in <student-prefix>_METHOD."

. ./path.sh
. utils/parse_options.sh
[ $# -eq 4 ] || { echo "$help_message" >&2; exit 1; }
forced=()
[ "$force" = false ] || forced=(--force)
data=$2
targets=$3
prefix=$4
set="${gate:+gate.kind=$gate }$set"
[ -f "$targets/.done" ] || { echo "$0: $targets: no finished targets: run stage 3 first (./run.sh --stage 3)" >&2; exit 1; }

waiting=()
for method in ${1//,/ }; do
  dir=${prefix}_$method
  made_from=(--from "$conf/student.yaml" --from "$targets" --data "$data" --value "method=$method" --value "set=$set")
  [ ! -f "$conf/$method.yaml" ] || made_from+=(--from "$conf/$method.yaml")
  status=0
  imlkd marker check "$dir/.done" --name "stage 4 ($method)" "${made_from[@]}" --code imlkd.training.student \
    "${forced[@]}" || status=$?
  [ $status -eq 0 ] && continue
  [ $status -eq 3 ] || exit $status
  waiting+=("$method")
done
[ ${#waiting[@]} -gt 0 ] || exit 0

logs=${prefix}_log
imlkd watch "distil ${waiting[*]}" "$logs" distil \
  $cmd --max-jobs-run "$((nj > nproc ? nj / nproc : 1))" JOB=1:${#waiting[@]} "$logs/distil.JOB.log" \
  local/distil_one.sh --nproc "$nproc" --conf "$conf" --set "$set" --progress "$logs/distil.JOB.progress" \
  JOB "$data" "$targets" "$prefix" "${waiting[@]}"
