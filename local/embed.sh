#!/usr/bin/env bash
# Stage 5 of one model and one set: embeddings in Kaldi's layout of an x-vector folder.
set -euo pipefail

nj=2
cmd=run.pl
allow_pipes=false
force=false
help_message="Usage: $0 [options] <model-dir> <data-dir> <xvector-dir>
  --nj N                    parallel jobs (default: $nj)
  --cmd CMD                 job runner (default: $cmd)
  --allow-pipes true|false  run commands in wav.scp (default: $allow_pipes)
  --force true|false        redo (default: $force)
Leaves xvector.JOB.{ark,scp}, xvector.scp, spk_xvector.{ark,scp} and num_utts.ark in <xvector-dir>."

. ./path.sh
. utils/parse_options.sh
[ $# -eq 3 ] || { echo "$help_message" >&2; exit 1; }
forced=()
[ "$force" = false ] || forced=(--force)
model=$1
data=$2
dir=$3
what="$(basename "$model"), $(basename "$data")"

[ -f "$model/.done" ] || { echo "$0: $model: no finished model: run stage 2 (teacher) or 4 (student) first" >&2; exit 1; }
status=0
imlkd marker check "$dir/.done" --name "stage 5 ($what)" --from "$model/final.pt" --from "$model/model.yaml" \
  --data "$data" --table wav.scp --table segments --table utt2spk --table reco2sha256 --code imlkd.models.extraction \
  --code imlkd.scoring.speaker_means \
  "${forced[@]}" || status=$?
[ $status -eq 3 ] || exit $status

utterances=$(wc -l < "$data/utt2spk")
[ "$nj" -le "$utterances" ] || nj=$utterances
pipes=()
[ "$allow_pipes" = false ] || pipes=(--allow-pipes)
utils/split_data.sh --per-utt "$data" "$nj"
imlkd watch "embed $what" "$dir/log" extract \
  $cmd JOB=1:"$nj" "$dir/log/extract.JOB.log" \
  imlkd model embed "$model" "$data/split${nj}utt/JOB" "$dir" --job JOB --progress "$dir/log/extract.JOB.progress" \
  "${pipes[@]}"
parts=()
for job in $(seq "$nj"); do parts+=("$dir/xvector.$job.scp"); done
imlkd join-scp "$dir/xvector.scp" "${parts[@]}"
while [ -f "$dir/xvector.$((++job)).scp" ]; do rm -f "$dir/xvector.$job.scp" "$dir/xvector.$job.ark"; done # of more jobs
$cmd "$dir/log/speaker_mean.log" imlkd speaker-means "$data/spk2utt" "$dir/xvector.scp" "$dir"
imlkd marker write "$dir/.done"
