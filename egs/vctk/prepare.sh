#!/usr/bin/env bash
# VCTK as Kaldi data directories of names, for `run.sh --corpus kaldi`; nothing is downloaded, no source is changed.
set -euo pipefail

test_speakers=
trials=
drawn=10000
help_message="Usage: $0 [options] <source> <out>
  --test-speakers FILE   whom to test on, one a line (default: none: name some)
  --trials FILE          a list over them (default: drawn)
  --drawn N              pairs to draw where there is no list (default: $drawn)
<source> is the folder as unpacked. Leaves vctk_train, vctk_test and vctk.sets.yaml in <out>, and prints
how to go on."

. ./path.sh
. utils/parse_options.sh
[ $# -eq 2 ] || { echo "$help_message" >&2; exit 1; }
options=(--drawn "$drawn")
[ -z "$test_speakers" ] || options+=(--test-speakers "$test_speakers")
[ -z "$trials" ] || options+=(--trials "$trials")
imlkd corpus folders vctk "$1" "$2" "${options[@]}"
train_set="" test_sets="" lists=""
sets=$(imlkd recipe sets "$2/vctk.sets.yaml")
eval "$sets"
files=
for list in $lists; do files+=${files:+,}$2/$list; done
echo "./run.sh --corpus kaldi --train $2/$train_set --test $2/$test_sets --trials $files --data work/data --exp work/exp"
