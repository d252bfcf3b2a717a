#!/usr/bin/env bash
# Put the weights of the teacher "resemblyzer" into the environment that the recipe runs with.
set -euo pipefail

help_message="Usage: $0
Installs the PyPI package Resemblyzer, which holds the weights of the GE2E speaker encoder (16 MB), without its
dependencies: nothing of it is imported. Does nothing when the weights are there and whole."

. ./path.sh
. utils/parse_options.sh
[ $# -eq 0 ] || { echo "$help_message" >&2; exit 1; }

verify() {
  "$IMLKD_PYTHON" - <<'END'
import sys
from imlkd.errors import UserError
from imlkd.models.resemblyzer import verified_weights
try:
    print(verified_weights())
except UserError as error:
    sys.exit(f"imlkd: error: {error}")
END
}

if weights=$(verify 2>/dev/null); then
  echo "$0: already installed: $weights"
  exit 0
fi
package=$("$IMLKD_PYTHON" -c 'from imlkd.models.resemblyzer import PACKAGE; print(PACKAGE)')
if ! log=$("$IMLKD_PYTHON" -m pip install --no-deps --force-reinstall --disable-pip-version-check "$package" 2>&1); then
  echo "$0: $IMLKD_PYTHON -m pip could not install $package: $(tail -n 1 <<<"$log")" >&2
  exit 1
fi
weights=$(verify)
echo "$0: installed $package: $weights"
