#!/usr/bin/env bash
# Stage 0 on data of your own: Kaldi data directories or Lhotse cuts, checked and copied, audio left where it is.
set -euo pipefail

train=
test=
trials=
train_cuts=
test_cuts=
nj=2
conf=egs/kaldi/conf
allow_pipes=false
force=false
check=decode
max_bad=0
relocate_from=
relocate_to=
corpus=kaldi
help_message="Usage: $0 [options] <data>
  --train DIR                Kaldi data directory to train on
  --test DIR[,DIR...]        Kaldi data directories of other speakers
  --trials FILE[,FILE...]    lists 'enroll test target|nontarget', each in its test directory
  --train-cuts FILE          Lhotse cuts (.jsonl.gz) instead of --train
  --test-cuts FILE[,FILE...] ... instead of --test
  --nj N                     parallel jobs of the audio check (default: $nj)
  --conf DIR                 holds features.yaml, which names the sample rate (default: $conf)
  --allow-pipes true|false   run commands that wav.scp holds (default: $allow_pipes)
  --check decode|headers|none  what is looked at in every file; none: lengths are those of reco2dur (default: $check)
  --max-bad SHARE            leave out bad audio up to this share of the utterances, as 0.1% (default: $max_bad)
  --relocate-from OLD --relocate-to NEW  other beginning of the audio's paths
  --force true|false         redo (default: $force)
  --corpus NAME              how the corpus is called in messages and file names (default: $corpus)
Leaves <set>/ and manifests/<set>.jsonl.gz for each set, and NAME.sets.yaml, in <data>."

. ./path.sh
. utils/parse_options.sh
[ $# -eq 1 ] || { echo "$help_message" >&2; exit 1; }
forced=()
[ "$force" = false ] || forced=(--force)
data=$1

made_from=(--from "$conf/features.yaml" --code imlkd.corpora.prepare --value "train=$train" --value "test=$test"
  --value "train-cuts=$train_cuts" --value "test-cuts=$test_cuts" --value "allow-pipes=$allow_pipes"
  --value "check=$check" --value "max-bad=$max_bad" --value "relocate=$relocate_from:$relocate_to")
IFS=, read -r -a dirs <<< "$train${test:+${train:+,}$test}" # paths may hold blanks
for dir in "${dirs[@]}"; do made_from+=(--data "$dir"); done
IFS=, read -r -a files <<< "$trials,$train_cuts,$test_cuts"
for file in "${files[@]}"; do [ -z "$file" ] || made_from+=(--from "$file"); done
status=0
imlkd marker check "$data/.done.$corpus" --name "stage 0 ($corpus)" "${made_from[@]}" "${forced[@]}" || status=$?
[ $status -eq 3 ] || exit $status

options=(--train "$train" --test "$test" --trials "$trials" --train-cuts "$train_cuts" --test-cuts "$test_cuts")
options+=(--check "$check" --max-bad "$max_bad")
[ "$allow_pipes" = false ] || options+=(--allow-pipes)
[ -z "$relocate_from" ] || options+=(--relocate "$relocate_from" "$relocate_to")
[ "$max_bad" = 0 ] || { mkdir -p "$data"; options+=(--bad "$data/$corpus.bad"); }
imlkd data prepare "${options[@]}" --out "$data" --sets "$data/$corpus.sets.yaml" --nj "$nj" \
  --sample-rate "$(imlkd features --print-sample-rate --config "$conf/features.yaml" . .)"
train_set="" test_sets="" lists=""
sets=$(imlkd recipe sets "$data/$corpus.sets.yaml")
eval "$sets"
outputs=(--output "$data/$corpus.sets.yaml")
for set in $train_set $test_sets; do
  utils/validate_data_dir.sh --no-text --no-feats "$data/$set"
  outputs+=(--output "$data/$set/wav.scp" --output "$data/$set/utt2spk" --output "$data/$set/spk2utt"
    --output "$data/manifests/$set.jsonl.gz")
done
for list in $lists; do outputs+=(--output "$data/$list"); done
imlkd marker write "$data/.done.$corpus" "${outputs[@]}"
