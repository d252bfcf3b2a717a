#!/usr/bin/env bash
# A study: methods x students x folds x seeds over one training set; makes what is missing, ends with its tables.
set -euo pipefail

jobs=2
data=
work=study
results=
help_message="Usage: $0 --data DIR [options] <study.yaml>
  --data DIR     Kaldi data directory of all training speakers
  --jobs N       trainings at a time, a core each (default: $jobs)
  --work DIR     what can be made again: folds, teachers, targets, students (default: $work/NAME)
  --results DIR  what is kept: folds, a record for each run, RESULTS.md, results.json, report/ (default: egs/study/NAME)
NAME is that of <study.yaml>. Killed and started again, it goes on: a run with a record is not made again."

. ./path.sh
. utils/parse_options.sh
[ $# -eq 1 ] || { echo "$help_message" >&2; exit 1; }
[ -n "$data" ] || { echo "$0: --data: name the Kaldi data directory of the training speakers" >&2; exit 1; }
name=$(basename "$1" .yaml)
results=${results:-egs/study/$name}
[ "$work" != study ] || work=study/$name
imlkd study run "$1" --data "$data" --work "$work" --results "$results" --jobs "$jobs"
cat "$results/RESULTS.md"
