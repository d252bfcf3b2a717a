#!/usr/bin/env bash
# Make .venv-oracle: the package Resemblyzer whole, which the GE2E teacher is compared with, SpeechBrain, which the PLDA
# is compared with, lir, which Cllr and minCllr are, the packages whose networks can be imported, and wespeaker's runtime,
# which an exported file is loaded in. Only the tests use it.
# Usage: bash tests/setup_oracle.sh   (30 s, 0.5 GB; needs a C compiler for webrtcvad; does nothing when it is up to date)
# It sees the main environment's packages behind its own, so torch is not installed a second time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ./path.sh
oracle=.venv-oracle
setuptools=setuptools==80.9.0 # webrtcvad imports pkg_resources, which later ones lack

fail() { echo "tests/setup_oracle.sh: $*" >&2; exit 1; }

packages=$("$IMLKD_PYTHON" -c 'import sysconfig; print(*dict.fromkeys(map(sysconfig.get_path, ("purelib", "platlib"))), sep="\n")')
made_of=$({ "$IMLKD_PYTHON" --version; echo "$packages $PWD"; cat tests/requirements-oracle.txt tests/setup_oracle.sh; } | sha256sum)
if [ "$(cat "$oracle/made_of" 2>/dev/null)" = "$made_of" ]; then
  echo "tests/setup_oracle.sh: $oracle is up to date"
  exit 0
fi
command -v "${CC:-cc}" >/dev/null || fail "no C compiler, which webrtcvad needs: install one (Debian: apt-get install gcc)"
echo "tests/setup_oracle.sh: making $oracle"
rm -rf "$oracle"
"$IMLKD_PYTHON" -m venv "$oracle"
install() {
  log=$("$oracle/bin/python" -m pip install --disable-pip-version-check --no-deps --no-build-isolation "$@" 2>&1) ||
    fail "pip could not install into $oracle: $(grep -m 1 -i error <<<"$log" || tail -n 1 <<<"$log")"
}
install "$setuptools"
install -r tests/requirements-oracle.txt
echo "$packages" >"$("$oracle/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/zz-main.pth"
"$oracle/bin/python" -W ignore -c 'import resemblyzer' || fail "$oracle cannot import resemblyzer: see the error above"
echo "$made_of" >"$oracle/made_of"
echo "tests/setup_oracle.sh: $oracle is ready"
