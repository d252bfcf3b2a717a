#!/usr/bin/env bash
# Checks a Kaldi data directory: every table well formed, sorted, unique, and all of them about the same ids.
set -euo pipefail

usage() {
  cat <<'END'
usage: utils/validate_data_dir.sh [options] <data-dir>
 e.g.: utils/validate_data_dir.sh --no-text --no-feats data/train
  --no-text        # text may be missing (default: false)
  --no-feats       # feats.scp may be missing (default: false)
  --no-wav         # wav.scp may be missing (default: false)
  --no-spk-sort    # utt2spk need not be sorted by speaker too (default: false)
  --non-print      # text may hold any byte (default: false)
A file that is there is checked whatever the options say. Ends with 0 when all is well, otherwise with 1 after one line
that names the file, the line and what to do. Files: wav.scp utt2spk spk2utt segments feats.scp vad.scp cmvn.scp text
utt2dur utt2num_frames utt2lang utt2uniq utt2warp reco2dur reco2file_and_channel spk2gender spk2warp.
END
}

flags=()
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) usage && exit 0 ;;
    --no-text | --no-feats | --no-wav | --no-spk-sort | --non-print)
      flag=${1#--}
      flags+=("${flag//-/_}")
      shift
      ;;
    -*)
      usage >&2
      echo "validate_data_dir.sh: unknown option $1" >&2
      exit 1
      ;;
    *) break ;;
  esac
done
if [ $# -ne 1 ]; then
  usage >&2
  exit 1
fi
here=$(dirname "${BASH_SOURCE[0]}")
exec perl -I "$here/lib" -MDataCheck -e 'DataCheck::main(@ARGV)' -- "$1" ${flags[@]+"${flags[@]}"}
