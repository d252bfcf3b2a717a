#!/usr/bin/env bash
# Joins Kaldi data directories into one.
set -euo pipefail

extra_files=
skip_fix=false
help_message="usage: utils/combine_data.sh [options] <dest-dir> <src-dir1> <src-dir2> ...
 e.g.: utils/combine_data.sh data/train data/train_vox1 data/train_vox2
  --extra-files '<file> ...'    # more files to join, each there in every source (default: none)
  --skip-fix true|false         # leave out fix_data_dir.sh on the result (default: $skip_fix)
A table that a source lacks is left out, and this is said; segments are made from utt2dur for sources without them.
Two sources may share speakers. An utterance or recording id that means different things in two of them is an error that
names the ids, and nothing is written."

here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source-path=SCRIPTDIR source=parse_options.sh
. "$here/parse_options.sh"
if [ $# -lt 2 ]; then
  echo "$help_message" >&2
  exit 1
fi
if [ "$skip_fix" = true ]; then skip_fix=1; else skip_fix=; fi
destination=$1
shift
exec perl -I "$here/lib" -MDataCombine -e 'DataCombine::main(@ARGV)' -- "$destination" "$extra_files" "$skip_fix" "$@"
