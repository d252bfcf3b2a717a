#!/usr/bin/env bash
# Copies a Kaldi data directory; the ids may get another beginning or end, so that two corpora can be combined.
set -euo pipefail

utt_prefix=
utt_suffix=
spk_prefix=
spk_suffix=
validate_opts=
help_message="usage: utils/copy_data_dir.sh [options] <src-dir> <dest-dir>
 e.g.: utils/copy_data_dir.sh --spk-prefix b- --utt-prefix b- data/train data/train_b
  --utt-prefix <text>           # put before each utterance id (default: '')
  --utt-suffix <text>           # put after each utterance id (default: '')
  --spk-prefix <text>           # put before each speaker id (default: '')
  --spk-suffix <text>           # put after each speaker id (default: '')
  --validate-opts '<option> ...'  # for validate_data_dir.sh (default: '', and --no-feats, --no-text or --no-wav
                                #   where <src-dir> has no such file)
Recording ids stay as they are when there is a segments file. Renamed utterances are traced in utt2uniq.
The copy has to pass validate_data_dir.sh, or nothing is written: a speaker prefix should also begin the utterance ids."

here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source-path=SCRIPTDIR source=parse_options.sh
. "$here/parse_options.sh"
if [ $# -ne 2 ]; then
  echo "$help_message" >&2
  exit 1
fi
flags=()
for option in $validate_opts; do
  case $option in
    --no-text | --no-feats | --no-wav | --no-spk-sort | --non-print)
      flag=${option#--}
      flags+=("${flag//-/_}")
      ;;
    *)
      echo "copy_data_dir.sh: --validate-opts: validate_data_dir.sh has no option $option" >&2
      exit 1
      ;;
  esac
done
exec perl -I "$here/lib" -MDataCopy -e '
  my ($from, $to, $utt_prefix, $utt_suffix, $spk_prefix, $spk_suffix, @flags) = @ARGV;
  DataCopy::main($from, $to, {utt_prefix => $utt_prefix, utt_suffix => $utt_suffix,
    spk_prefix => $spk_prefix, spk_suffix => $spk_suffix}, @flags);
' -- "$1" "$2" "$utt_prefix" "$utt_suffix" "$spk_prefix" "$spk_suffix" ${flags[@]+"${flags[@]}"}
