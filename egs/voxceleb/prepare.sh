#!/usr/bin/env bash
# Stage 0 on VoxCeleb1 and VoxCeleb2, wherever and in whatever form you have them; then as any corpus of your own.
set -euo pipefail

trials=
train=auto
allow_partial=false
convert_to=
unpack_to=
decode_m4a=false
min_utterances=1
expect=
relocate_from=
relocate_to=
teacher_speakers=
check=decode
max_bad=0
allow_pipes=false
nj=2
conf=egs/voxceleb/conf
force=false
help_message="Usage: $0 [options] <source>[,<source>...] <data>
  --trials FILE[,FILE...]      lists over VoxCeleb1, compulsory: veri_test2.txt (O), list_test_all2.txt (E), list_test_hard2.txt (H)
  --train NAME                 vox1_dev, vox2_dev, vox1_dev+vox2_dev, or auto: vox2_dev when there is any (default: $train)
  --allow-partial true|false   use a part of the corpus (default: $allow_partial)
  --convert-to DIR             convert m4a to FLAC there first; goes on where it was interrupted
  --unpack-to DIR              unpack shards (.tar) there first
  --decode-m4a true|false      leave m4a, decode it whenever it is read (default: $decode_m4a)
  --min-utterances N           of a training speaker (default: $min_utterances)
  --expect FILE[,FILE...]      lists of what should be there (iden_split.txt, train_list.txt), to name what is missing
  --relocate-from OLD --relocate-to NEW  other beginning of the paths in directories and lists
  --teacher-speakers FILE      whom an imported teacher was trained on, one a line
  --check decode|headers|none  what is looked at in every file (default: $check); none needs no file but lengths
  --max-bad SHARE              leave out bad files up to this share, as 0.1% (default: $max_bad)
  --allow-pipes true|false     run commands that wav.scp holds (default: $allow_pipes)
  --nj N                       parallel jobs (default: $nj)
  --conf DIR                   holds features.yaml, which names the sample rate (default: $conf)
  --force true|false           redo (default: $force)
A source is a folder of .wav, .flac or .m4a (as unpacked: wav/, dev/aac, test/), of shards, a Kaldi directory, or a list
of paths. Nothing is downloaded, no source is changed.
Leaves local/ (names only, voxceleb_sources.txt, voxceleb_missing.txt), the sets, manifests and voxceleb.sets.yaml in <data>."

. ./path.sh
. utils/parse_options.sh
[ $# -eq 2 ] || { echo "$help_message" >&2; exit 1; }
[ -n "$1" ] || { echo "$0: no VoxCeleb: give its folder (run.sh: --voxceleb1 DIR, --voxceleb2 DIR)" >&2; exit 1; }
[ -n "$trials" ] || { echo "$0: no list of trials: give veri_test2.txt (run.sh: --voxceleb-trials FILE)" >&2; exit 1; }
[ -n "$relocate_from" ] && [ -n "$relocate_to" ] || [ -z "$relocate_from$relocate_to" ] \
  || { echo "$0: --relocate-from and --relocate-to: give both" >&2; exit 1; }
local=$2/local
IFS=, read -r -a sources <<< "$1"
options=(--train "$train" --min-utterances "$min_utterances")
IFS=, read -r -a named <<< "$trials"
for list in "${named[@]}"; do options+=(--trials "$list"); done
IFS=, read -r -a named <<< "$expect"
for list in "${named[@]}"; do options+=(--expect "$list"); done
[ "$allow_partial" = false ] || options+=(--allow-partial)
[ "$decode_m4a" = false ] || options+=(--decode-m4a)
[ -z "$relocate_from" ] || options+=(--relocate "$relocate_from" "$relocate_to")
[ -z "$teacher_speakers" ] || options+=(--teacher-speakers "$teacher_speakers")

if [ -n "$unpack_to" ]; then
  unpacked=()
  for source in "${sources[@]}"; do
    if compgen -G "$source/*.tar" > /dev/null; then
      imlkd corpus unpack "$source" "$unpack_to" --nj "$nj"
      unpacked+=("$unpack_to")
    else
      unpacked+=("$source")
    fi
  done
  sources=("${unpacked[@]}")
fi
if [ -n "$convert_to" ]; then
  imlkd corpus convert "${sources[@]}" "$convert_to" --nj "$nj" --max-bad "$max_bad"
  sources+=("$convert_to")
fi
imlkd corpus voxceleb "${sources[@]}" "$local" "${options[@]}"
train_set="" test_sets="" lists=""
sets=$(imlkd recipe sets "$local/voxceleb.sets.yaml")
eval "$sets"
files=
for list in $lists; do files+=${files:+,}$local/$list; done
egs/kaldi/prepare.sh --corpus voxceleb --nj "$nj" --conf "$conf" --force "$force" --allow-pipes "$allow_pipes" \
  --check "$check" --max-bad "$max_bad" \
  --train "$local/$train_set" --test "$local/$test_sets" --trials "$files" "$2"
