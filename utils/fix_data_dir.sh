#!/usr/bin/env bash
# Repairs a Kaldi data directory in place: sorts, drops repeated lines and what not every table knows, rebuilds spk2utt.
set -euo pipefail

utt_extra_files=
spk_extra_files=
help_message="usage: utils/fix_data_dir.sh [options] <data-dir>
 e.g.: utils/fix_data_dir.sh data/train
  --utt-extra-files '<file> ...'    # more files to filter whose first column is an utterance (default: none)
  --spk-extra-files '<file> ...'    # more files to filter whose first column is a speaker (default: none)
Prints what is kept and what goes, and why. Files that change are kept as they were in <data-dir>/.backup.
Ends with 1, nothing changed, where there is no mechanical cure: two different lines for one id, a wrong number of
columns, text that is not UTF-8, no utterance that every table knows."

here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source-path=SCRIPTDIR source=parse_options.sh
. "$here/parse_options.sh"
if [ $# -ne 1 ]; then
  echo "$help_message" >&2
  exit 1
fi
exec perl -I "$here/lib" -MDataRepair -e 'DataRepair::main(@ARGV)' -- "$1" "$utt_extra_files" "$spk_extra_files"
