#!/usr/bin/env bash
# Stage 1 of one set: log-mel features and speech activity, in parallel jobs.
set -euo pipefail

nj=2
cmd=run.pl
conf=
allow_pipes=false
force=false
help_message="Usage: $0 [options] <data-dir>
  --nj N                    parallel jobs           (default: $nj)
  --cmd CMD                 job runner              (default: $cmd)
  --conf FILE               features.yaml
  --allow-pipes true|false  run commands in wav.scp (default: $allow_pipes)
  --force true|false        redo                    (default: $force)
Leaves feats.scp, vad.scp, utt2num_frames and features.yaml in <data-dir>, the arks in <data-dir>/features."

. ./path.sh
. utils/parse_options.sh
[ $# -eq 1 ] || { echo "$help_message" >&2; exit 1; }
forced=()
[ "$force" = false ] || forced=(--force)
data=$1
set_name=$(basename "$data")

vad_scp=$(imlkd features --print-vad-scp ${conf:+--config "$conf"} . .)
made_from=(--name "stage 1 ($set_name)" --data "$data" --table wav.scp --table segments --table utt2spk --table reco2sha256
  --from "$conf" --code imlkd.features.extract --code imlkd.attribution.segments)
for file in ${vad_scp//,/ }; do made_from+=(--from "$file"); done
status=0
imlkd marker check "$data/.done.features" "${made_from[@]}" "${forced[@]}" || status=$?
[ $status -eq 3 ] || exit $status

utterances=$(wc -l < "$data/utt2spk")
[ "$nj" -le "$utterances" ] || nj=$utterances
pipes=()
[ "$allow_pipes" = false ] || pipes=(--allow-pipes)
utils/split_data.sh --per-utt "$data" "$nj"
imlkd watch "features of $set_name" "$data/log" features \
  $cmd JOB=1:"$nj" "$data/log/features.JOB.log" \
  imlkd features "$data/split${nj}utt/JOB" "$data/features" --config "$conf" --job JOB \
  --progress "$data/log/features.JOB.progress" "${pipes[@]}"

for kind in feats vad; do
  parts=()
  for job in $(seq "$nj"); do parts+=("$data/features/$kind.$job.scp"); done
  imlkd join-scp "$data/$kind.scp" "${parts[@]}"
done
counts=()
for job in $(seq "$nj"); do counts+=("$data/features/utt2num_frames.$job"); done
sort "${counts[@]}" > "$data/.utt2num_frames.new"
mv "$data/.utt2num_frames.new" "$data/utt2num_frames"
imlkd features "$data" "$data" --config "$conf" --save-config "$data/features.yaml"
imlkd marker write "$data/.done.features" --output "$data/feats.scp" --output "$data/vad.scp" \
  --output "$data/utt2num_frames" --output "$data/features.yaml"
