#!/usr/bin/env bash
# Stage 0 on VoxCeleb1, which you have unpacked yourself: data directories from its tree, then as any corpus of your own.
set -euo pipefail

trials=
nj=2
conf=egs/voxceleb/conf
force=false
help_message="Usage: $0 [options] <voxceleb1> <data>
  --trials FILE       veri_test2.txt (voxceleb1_test_v2.txt) or another list of test speakers, compulsory
  --nj N              parallel jobs of the audio check (default: $nj)
  --conf DIR          holds features.yaml, which names the sample rate (default: $conf)
  --force true|false  redo (default: $force)
Reads <voxceleb1>/wav/idNNNNN/VIDEO/*.wav, or the same below dev and test; nothing is downloaded.
Leaves local/vox1_{dev,test} (names only), vox1_dev, vox1_test, manifests and voxceleb.sets.yaml in <data>."

. ./path.sh
. utils/parse_options.sh
[ $# -eq 2 ] || { echo "$help_message" >&2; exit 1; }
[ -n "$1" ] || { echo "$0: no VoxCeleb1: give its folder (run.sh: --voxceleb1 DIR)" >&2; exit 1; }
[ -n "$trials" ] || { echo "$0: no list of trials: give veri_test2.txt (run.sh: --voxceleb-trials FILE)" >&2; exit 1; }
local=$2/local

imlkd data voxceleb1 "$1" "$trials" "$local"
egs/kaldi/prepare.sh --corpus voxceleb --nj "$nj" --conf "$conf" --force "$force" \
  --train "$local/vox1_dev" --test "$local/vox1_test" --trials "$local/vox1_test/trials" "$2"
