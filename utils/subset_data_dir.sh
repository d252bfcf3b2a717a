#!/usr/bin/env bash
# Makes a Kaldi data directory with some of the utterances of another.
set -euo pipefail

usage() {
  cat <<'END'
usage: utils/subset_data_dir.sh [--speakers|--per-spk|--first|--last|--shortest] <src-dir> <num-utt> <dest-dir>
   or: utils/subset_data_dir.sh --spk-list <file> | --utt-list <file> <src-dir> <dest-dir>
 e.g.: utils/subset_data_dir.sh --per-spk data/train 10 data/train_10each
  (no option)          # <num-utt> utterances, evenly spread over the source
  --speakers           # whole speakers until there are <num-utt> utterances, shuffled the same way every time
  --per-spk            # <num-utt> utterances of each speaker, evenly spread; all of one who has fewer
  --first, --last      # the first or the last <num-utt> utterances
  --shortest           # the <num-utt> shortest, by utt2num_frames, else utt2dur, else segments
  --spk-list <file>    # the utterances of the speakers in the first column of <file>
  --utt-list <file>    # the utterances in the first column of <file>
Segments, recordings, speakers and features go along; tables in <dest-dir> are replaced. More utterances than there are
is an error; ids of a list that the source has not are counted and shown.
END
}

fail() {
  echo "subset_data_dir.sh: $1" >&2
  exit 1
}

mode=spread
list=
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) usage && exit 0 ;;
    --speakers | --per-spk | --first | --last | --shortest | --spk-list | --utt-list)
      [ "$mode" = spread ] || fail "$1: only one way to choose may be given"
      mode=${1#--}
      mode=${mode//-/_}
      case $mode in *_list)
        [ $# -ge 2 ] || fail "$1 needs a file"
        list=$2
        shift
        ;;
      esac
      shift
      ;;
    -*)
      usage >&2
      fail "unknown option $1"
      ;;
    *) break ;;
  esac
done
case $mode in *_list) positional=2 ;; *) positional=3 ;; esac
if [ $# -ne $positional ]; then
  usage >&2
  exit 1
fi
if [ $positional -eq 2 ]; then
  set -- "$1" "$list" "$2"
elif ! [[ $2 =~ ^[1-9][0-9]*$ ]]; then
  fail "the number of utterances is a whole number from 1, not '$2'"
fi
exec perl -I "$(dirname "${BASH_SOURCE[0]}")/lib" -MDataSubset -e 'DataSubset::main(@ARGV)' -- "$mode" "$1" "$2" "$3"
