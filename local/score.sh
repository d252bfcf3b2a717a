#!/usr/bin/env bash
# Stage 6 of one model: cosine scores of every trial list, their error rates and intervals.
set -euo pipefail

cmd=run.pl
bootstrap=1000
force=false
help_message="Usage: $0 [options] <model-dir> <data> <set/list> [<set/list>...]
  --cmd CMD           job runner (default: $cmd)
  --bootstrap N       draws of speakers for the 95 % intervals (default: $bootstrap)
  --force true|false  redo (default: $force)
Reads <model-dir>/xvectors_<set>/xvector.scp and <data>/<set>/<list>; leaves scores/<set>/<list> (enroll test score),
metrics/<set>/<list>.json and metrics/<set>/<list>.eer (input of compute-eer) in <model-dir>."

. ./path.sh
. utils/parse_options.sh
[ $# -ge 3 ] || { echo "$help_message" >&2; exit 1; }
forced=()
[ "$force" = false ] || forced=(--force)
model=$1
data=$2
shift 2

for set_and_list; do
  set_name=${set_and_list%%/*}
  list=${set_and_list#*/}
  trials=$data/$set_and_list
  xvectors=$model/xvectors_$set_name
  scores=$model/scores/$set_and_list
  metrics=$model/metrics/$set_and_list
  [ -f "$xvectors/.done" ] || { echo "$0: $xvectors: no finished embeddings: run stage 5 first" >&2; exit 1; }
  status=0
  imlkd marker check "$model/scores/$set_name/.done.$list" --name "stage 6 ($(basename "$model"), $set_and_list)" \
    --from "$xvectors" --from "$trials" --from "$data/$set_name/utt2spk" --value "bootstrap=$bootstrap" \
    --code imlkd.scoring.cosine --code imlkd.scoring.evaluate "${forced[@]}" || status=$?
  [ $status -eq 0 ] && continue
  [ $status -eq 3 ] || exit $status

  log=$model/log/score.$set_name.$list
  imlkd watch "score $set_and_list" "$model/log" "score.$set_name.$list" \
    $cmd JOB=1:1 "$log.JOB.log" \
    imlkd score --trials "$trials" --enroll-scp "$xvectors/xvector.scp" --test-scp "$xvectors/xvector.scp" --out "$scores"
  imlkd watch "evaluate $set_and_list" "$model/log" "evaluate.$set_name.$list" \
    $cmd JOB=1:1 "$model/log/evaluate.$set_name.$list.JOB.log" \
    imlkd evaluate "$scores" "$trials" --utt2spk "$data/$set_name/utt2spk" --bootstrap "$bootstrap" \
    --json "$metrics.json" --eer-input "$metrics.eer"
  imlkd marker write "$model/scores/$set_name/.done.$list" --output "$scores" --output "$metrics.json" \
    --output "$metrics.eer"
done
