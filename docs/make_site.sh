#!/usr/bin/env bash
# The documentation as a site: build/site/index.html, by mkdocs-material in an environment of its own (.venv-docs, 60 MB).
# Usage: docs/make_site.sh    A link or an anchor that leads nowhere is an error; addresses outside are listed, not fetched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ./path.sh
venv=.venv-docs

fail() { echo "docs/make_site.sh: $*" >&2; exit 1; }

made_of=$({ "$IMLKD_PYTHON" --version; cat requirements-docs.txt; } | sha256sum)
if [ "$(cat $venv/made_of 2>/dev/null)" != "$made_of" ]; then
  rm -rf $venv
  "$IMLKD_PYTHON" -m venv $venv
  log=$($venv/bin/python -m pip install --disable-pip-version-check --no-deps -r requirements-docs.txt 2>&1) ||
    fail "pip could not install into $venv: $(grep -m 1 -i error <<<"$log" || tail -n 1 <<<"$log")"
  echo "$made_of" >$venv/made_of
fi
$venv/bin/python docs/make_site.py build/pages
NO_MKDOCS_2_WARNING=1 $venv/bin/python -m mkdocs build --quiet --strict --config-file mkdocs.yml
echo "build/site/index.html: $(find build/site -name '*.html' | wc -l) pages"
