#!/usr/bin/env bash
# One training of stage 4: the JOB-th of the methods named at the end.
set -euo pipefail

conf=egs/minivox/conf
set=
progress=
nproc=1
ngpu=0
nodes=
lm_epochs=0
allow_pipes=false
help_message="Usage: $0 [--conf DIR] [--set 'K=V ...'] [--progress FILE] [--nproc N] [--ngpu N] [--nodes N] [--lm-epochs N] [--allow-pipes true|false] <job> <data-dir> <targets-dir> <student-prefix> <method>..."

. ./path.sh
. utils/parse_options.sh
[ $# -ge 5 ] || { echo "$help_message" >&2; exit 1; }
data=$2
targets=$3
prefix=$4
method=${*:$((4 + $1)):1}
dir=${prefix}_$method
more=()
[ "$lm_epochs" -eq 0 ] || { more=(--init "$dir" --lm-epochs "$lm_epochs"); dir+=_lm; }

options=(--config "$conf/student.yaml")
[ "$allow_pipes" = false ] || options+=(--allow-pipes)
for pair in $set; do options+=(--set "$pair"); done
[ -z "$progress" ] || options+=(--progress "$progress")
[ ! -f "$conf/$method.yaml" ] || options+=(--method-config "$conf/$method.yaml")
local/train.sh --nproc "$nproc" --ngpu "$ngpu" ${nodes:+--nodes "$nodes"} \
  imlkd model distil "$method" "$data" "$targets" "$dir" "${options[@]}" "${more[@]}"
outputs=()
for name in final.pt model.yaml config.yaml speakers; do outputs+=(--output "$dir/$name"); done
imlkd marker write "$dir/.done" "${outputs[@]}"
