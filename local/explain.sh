#!/usr/bin/env bash
# Stage 3: what the teacher says of every training segment: relevance, embedding, cosines, in parallel jobs.
set -euo pipefail

nj=2
cmd=run.pl
conf=
set=
allow_pipes=false
force=false
help_message="Usage: $0 [options] <teacher-dir> <data-dir> <targets-dir>
  --nj N                    parallel jobs (default: $nj)
  --cmd CMD                 job runner (default: $cmd)
  --conf FILE               relevance.yaml
  --set 'K=V ...'           override keys of it
  --allow-pipes true|false  run commands in wav.scp (default: $allow_pipes)
  --force true|false        redo (default: $force)
Leaves segments, {relevance,embedding,cosines,cosines_gated}.scp, convergence.txt and cuts.jsonl.gz in <targets-dir>."

. ./path.sh
. utils/parse_options.sh
[ $# -eq 3 ] || { echo "$help_message" >&2; exit 1; }
forced=()
[ "$force" = false ] || forced=(--force)
teacher=$1
data=$2
dir=$3
set_name=$(basename "$data")

[ -f "$teacher/.done" ] || { echo "$0: $teacher: no finished teacher: run stage 2 first (./run.sh --stage 2)" >&2; exit 1; }
[ -f "$data/.done.features" ] || { echo "$0: $data: no finished features: run stage 1 first (./run.sh --stage 1)" >&2; exit 1; }
status=0
imlkd marker check "$dir/.done" --name "stage 3 ($set_name)" --from "$teacher/final.pt" --from "$teacher/model.yaml" \
  --from "$teacher/speakers" --data "$data" --from "$conf" \
  --value "relevance-set=$set" --value "nj=$nj" --code imlkd.attribution.stage "${forced[@]}" || status=$?
[ $status -eq 3 ] || exit $status

overrides=()
for pair in $set; do overrides+=(--set "$pair"); done
pipes=()
[ "$allow_pipes" = false ] || pipes=(--allow-pipes)
imlkd model segments "$data" "$dir" --config "$conf" --teacher "$teacher" "${overrides[@]}"
imlkd watch "explain $set_name" "$dir/log" explain \
  $cmd JOB=1:"$nj" "$dir/log/explain.JOB.log" \
  imlkd model explain "$teacher" "$data" "$dir" --job JOB --nj "$nj" \
  --progress "$dir/log/explain.JOB.progress" "${pipes[@]}"
imlkd model join-targets "$dir" "$(dirname "$data")/manifests/$set_name.jsonl.gz" --nj "$nj"
imlkd marker write "$dir/.done"
