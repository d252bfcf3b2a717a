#!/usr/bin/env bash
# Stage 0 on the built-in corpus: synthetic voices, Kaldi data directories and Lhotse cuts.
set -euo pipefail

nj=2
conf=egs/minivox/conf
force=false
help_message="Usage: $0 [options] <data>
  --nj N              processes (default: $nj)
  --conf DIR          holds corpus.yaml (default: $conf)
  --force true|false  redo (default: $force)
Leaves minivox_{teacher_train,train,test}, manifests and minivox.sets.yaml in <data>."

. ./path.sh
. utils/parse_options.sh
[ $# -eq 1 ] || { echo "$help_message" >&2; exit 1; }
forced=()
[ "$force" = false ] || forced=(--force)
data=$1

status=0
imlkd marker check "$data/.done.minivox" --name "stage 0 (minivox)" --from "$conf/corpus.yaml" \
  --code imlkd.corpora.minivox.corpus --code imlkd.corpora.lhotse.cuts "${forced[@]}" || status=$?
[ $status -eq 3 ] || exit $status

imlkd minivox --config "$conf/corpus.yaml" --out "$data" --nj "$nj"
outputs=()
cuts=()
for set in minivox_teacher_train minivox_train minivox_test; do
  utils/validate_data_dir.sh --no-text --no-feats "$data/$set"
  cuts+=("$data/$set" "$data/manifests/$set.jsonl.gz")
  outputs+=(--output "$data/$set/wav.scp" --output "$data/$set/utt2spk" --output "$data/$set/spk2utt"
    --output "$data/manifests/$set.jsonl.gz")
done
imlkd data to-lhotse "${cuts[@]}"
imlkd recipe write-sets "$data/minivox.sets.yaml" --train minivox_train --teacher minivox_teacher_train \
  --list minivox_test/trials
imlkd marker write "$data/.done.minivox" "${outputs[@]}" --output "$data/minivox_test/trials" \
  --output "$data/minivox.sets.yaml"
