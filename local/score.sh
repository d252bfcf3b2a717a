#!/usr/bin/env bash
# Stage 6 of one model: scores of every trial list, their error rates and intervals.
set -euo pipefail

cmd=run.pl
bootstrap=1000
backend=cosine
lda_dim=
score_norm=none
cohort=
top_k=300
calibrate=
force=false
help_message="Usage: $0 [options] <model-dir> <data> <set/list> [<set/list>...]
  --cmd CMD           job runner (default: $cmd)
  --bootstrap N       draws of speakers for the 95 % intervals (default: $bootstrap)
  --backend cosine|plda  what compares embeddings; PLDA is fitted on the set --cohort (default: $backend)
  --lda-dim N         reduce to N dimensions before PLDA
  --score-norm NAME   none, z, t, s or as: normalise by the mean embeddings of the speakers of --cohort (default: $score_norm)
  --cohort SET        training set, whose embeddings are in <model-dir>/xvectors_SET
  --top-k N           members of the cohort that count in --score-norm as (default: $top_k)
  --calibrate SET/LIST  fit a calibration on this list, whose speakers are no others', and make the scores of the other
                      lists log-likelihood ratios; leaves calibration.json in <model-dir>
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

ready() { # folder: embeddings that stage 5 has finished
  [ -f "$1/.done" ] || { echo "$0: $1: no finished embeddings: run stage 5 first" >&2; exit 1; }
}

members=$model/xvectors_$cohort
code=imlkd.scoring.cosine
made_with=()  # what the marker of a list has to know beside its own files
scoring=()    # options of imlkd score
if [ "$backend $score_norm$calibrate" != "cosine none" ]; then
  code=imlkd.scoring.scorer
fi
if [ "$backend" != cosine ] || [ "$score_norm" != none ]; then
  ready "$members"
  made_with=(--from "$members" --from "$data/$cohort/utt2spk" --value "backend=$backend" --value "norm=$score_norm"
    --value "top_k=$top_k")
fi
if [ "$backend" = plda ]; then
  plda=$model/plda_$cohort
  reduced=()
  [ -z "$lda_dim" ] || reduced=(--lda-dim "$lda_dim")
  status=0
  imlkd marker check "$plda/.done" --name "stage 6 ($(basename "$model"), PLDA)" --from "$members" \
    --from "$data/$cohort/utt2spk" --value "lda_dim=$lda_dim" --code imlkd.scoring.plda_backend "${forced[@]}" || status=$?
  [ $status -eq 0 ] || [ $status -eq 3 ] || exit $status
  if [ $status -eq 3 ]; then
    imlkd watch "PLDA $(basename "$model")" "$model/log" plda $cmd JOB=1:1 "$model/log/plda.JOB.log" \
      imlkd plda fit "$members/xvector.scp" "$data/$cohort/utt2spk" "$plda" "${reduced[@]}"
    imlkd marker write "$plda/.done"
  fi
  made_with+=(--from "$plda")
  scoring+=(--backend plda --plda "$plda")
fi
if [ "$score_norm" != none ]; then
  scoring+=(--norm "$score_norm" --top-k "$top_k" --cohort-scp "$members/spk_xvector.scp"
    --cohort-utt2spk "$data/$cohort/utt2spk")
fi

fit_calibration() { # on the list that has been scored first
  local status=0 dev=$data/${calibrate%%/*} marker=$model/scores/.done.calibration
  imlkd marker check "$marker" --name "stage 6 ($(basename "$model"), calibration)" --from "$model/scores/$calibrate" \
    --from "$data/$calibrate" --from "$dev/utt2spk" --code imlkd.scoring.calibration "${forced[@]}" || status=$?
  [ $status -ne 0 ] || return 0
  [ $status -eq 3 ] || exit $status
  imlkd watch "calibration $calibrate" "$model/log" calibration $cmd JOB=1:1 "$model/log/calibration.JOB.log" \
    imlkd calibrate "$model/scores/$calibrate" "$data/$calibrate" --utt2spk "$dev/utt2spk" --out "$model/calibration.json"
  imlkd marker write "$marker" --output "$model/calibration.json"
}

fitted=() # options of imlkd score, once there is a calibration
ratios=() # those of imlkd evaluate then
lists=("$@")
if [ -n "$calibrate" ]; then
  lists=("$calibrate")
  for set_and_list; do [ "$set_and_list" = "$calibrate" ] || lists+=("$set_and_list"); done
fi
for set_and_list in "${lists[@]}"; do
  if [ -n "$calibrate" ] && [ "$set_and_list" != "$calibrate" ] && [ ${#fitted[@]} -eq 0 ]; then
    fit_calibration
    fitted=(--calibration "$model/calibration.json")
    ratios=(--llr)
    made_with+=(--from "$model/calibration.json" --value "llr=true")
  fi
  set_name=${set_and_list%%/*}
  list=${set_and_list#*/}
  trials=$data/$set_and_list
  xvectors=$model/xvectors_$set_name
  scores=$model/scores/$set_and_list
  metrics=$model/metrics/$set_and_list
  ready "$xvectors"
  status=0
  imlkd marker check "$model/scores/$set_name/.done.$list" --name "stage 6 ($(basename "$model"), $set_and_list)" \
    --from "$xvectors" --from "$trials" --from "$data/$set_name/utt2spk" --value "bootstrap=$bootstrap" \
    "${made_with[@]}" --code "$code" --code imlkd.scoring.evaluate "${forced[@]}" || status=$?
  [ $status -eq 0 ] && continue
  [ $status -eq 3 ] || exit $status

  log=$model/log/score.$set_name.$list
  chosen=("${scoring[@]}" "${fitted[@]}")
  [ ${#chosen[@]} -eq 0 ] || chosen+=(--utt2spk "$data/$set_name/utt2spk")
  [ "$score_norm" = none ] || chosen+=(--norm-stats "$model/norm/$set_and_list")
  imlkd watch "score $set_and_list" "$model/log" "score.$set_name.$list" \
    $cmd JOB=1:1 "$log.JOB.log" \
    imlkd score --trials "$trials" --enroll-scp "$xvectors/xvector.scp" --test-scp "$xvectors/xvector.scp" \
    --out "$scores" "${chosen[@]}"
  imlkd watch "evaluate $set_and_list" "$model/log" "evaluate.$set_name.$list" \
    $cmd JOB=1:1 "$model/log/evaluate.$set_name.$list.JOB.log" \
    imlkd evaluate "$scores" "$trials" --utt2spk "$data/$set_name/utt2spk" --bootstrap "$bootstrap" \
    --json "$metrics.json" --eer-input "$metrics.eer" "${ratios[@]}"
  imlkd marker write "$model/scores/$set_name/.done.$list" --output "$scores" --output "$metrics.json" \
    --output "$metrics.eer"
done
