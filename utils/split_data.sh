#!/usr/bin/env bash
# Splits a Kaldi data directory into parts for parallel jobs.
set -euo pipefail

usage() {
  cat <<'END'
usage: utils/split_data.sh [--per-utt] <data-dir> <num-jobs>
 e.g.: utils/split_data.sh data/train 4
  --per-utt    # split between any two utterances, not only between speakers (default: false)
Makes <data-dir>/split<num-jobs>/{1,2,...}, with --per-utt <data-dir>/split<num-jobs>utt/{1,2,...}. A speaker stays in
one part; each part takes along what its utterances need. Nothing is done when the split is there and made from the
files as they are now.
END
}

per_utt=
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) usage && exit 0 ;;
    --per-utt) per_utt=1 && shift ;;
    -*)
      usage >&2
      echo "split_data.sh: unknown option $1" >&2
      exit 1
      ;;
    *) break ;;
  esac
done
if [ $# -ne 2 ]; then
  usage >&2
  exit 1
fi
if ! [[ $2 =~ ^[1-9][0-9]*$ ]]; then
  echo "split_data.sh: the number of jobs is a whole number from 1, not '$2'" >&2
  exit 1
fi
exec perl -I "$(dirname "${BASH_SOURCE[0]}")/lib" -MDataSplit -e 'DataSplit::main(@ARGV)' -- "$1" "$2" "$per_utt"
