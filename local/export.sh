#!/usr/bin/env bash
# Stage 7, with --export: one model as files for use elsewhere, each variant scored, and its card.
set -euo pipefail

format=onnx
licence=
max_loss=5%
accept_loss=false
utterances=32
bootstrap=1000
allow_pipes=false
force=false
help_message="Usage: $0 [options] <sets.yaml> <model-dir>
  --format F[,F...]         onnx, fp16, int8, features, safetensors, torchscript (default: $format)
  --licence TEXT            of the weights, for card and metadata
  --max-loss SHARE%|DIFF    EER that fp16 and int8 may lose: a share of float32's, or a difference of fractions (default: $max_loss)
  --accept-loss true|false  keep a variant that loses more (default: $accept_loss)
  --utterances N            training utterances that int8 is calibrated on (default: $utterances)
  --bootstrap N             draws of speakers for the 95 % intervals (default: $bootstrap)
  --allow-pipes true|false  run commands in wav.scp (default: $allow_pipes)
  --force true|false        redo (default: $force)
Reads final.pt, scores and metrics of <model-dir>, and the sets below the folder of <sets.yaml>; leaves
<model-dir>/export/ with README.md, the model card, and export.json."

. ./path.sh
. utils/parse_options.sh
[ $# -eq 2 ] || { echo "$help_message" >&2; exit 1; }
forced=()
[ "$force" = false ] || forced=(--force)
options=()
[ "$accept_loss" = false ] || options+=(--accept-loss)
[ "$allow_pipes" = false ] || options+=(--allow-pipes)
sets_path=$1
model=$2
data=$(dirname "$sets_path")

lists="" test_sets="" train_set="" teacher_set=""
sets=$(imlkd recipe sets "$sets_path")
eval "$sets"
made_from=(--from "$sets_path" --from "$model/final.pt" --from "$model/model.yaml" --value "format=$format"
  --value "licence=$licence" --value "max_loss=$max_loss" --value "accept_loss=$accept_loss"
  --value "utterances=$utterances" --value "bootstrap=$bootstrap")
[ ! -f "$model/calibration.json" ] || made_from+=(--from "$model/calibration.json")
for list in $lists; do
  made_from+=(--from "$data/$list")
  [ ! -f "$model/metrics/$list.json" ] || made_from+=(--from "$model/metrics/$list.json")
done
read -r -a all_sets <<< "$train_set $teacher_set $test_sets"
for set in "${all_sets[@]}"; do
  made_from+=(--data "$data/$set" --table wav.scp --table segments --table utt2spk --table reco2sha256)
done
status=0
imlkd marker check "$model/export/.done" --name "stage 7 ($(basename "$model"), export)" "${made_from[@]}" \
  --code imlkd.export.stage "${forced[@]}" || status=$?
[ $status -eq 3 ] || exit $status
imlkd export "$model" --format "$format" --sets "$sets_path" --licence "$licence" --max-loss "$max_loss" \
  --utterances "$utterances" --bootstrap "$bootstrap" "${options[@]}"
imlkd marker write "$model/export/.done" --output "$model/export/README.md" --output "$model/export/export.json"
