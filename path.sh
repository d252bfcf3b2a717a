# Sourced by every script: PATH, PYTHONPATH and the Python that the recipe runs with.
# IMLKD_PYTHON=/path/to/python uses an environment of your own; otherwise .venv is made here on first use
# from the exact pins in requirements.txt, and repaired when it is only half made.

# shellcheck shell=bash disable=SC2317
IMLKD_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Threads that wait sleep: spinning ones bring a shared machine to a halt.
export IMLKD_ROOT LC_ALL=C PYTHONUNBUFFERED=1 OMP_WAIT_POLICY=PASSIVE
case ":$PATH:" in
  *":$IMLKD_ROOT/utils:"*) ;;
  *) export PATH="$IMLKD_ROOT/utils:$PATH" ;;
esac
case ":${PYTHONPATH:-}:" in
  *":$IMLKD_ROOT:"*) ;;
  *) export PYTHONPATH="$IMLKD_ROOT${PYTHONPATH:+:$PYTHONPATH}" ;;
esac
if [ -z "${IMLKD_HOLD_INTERRUPT+x}" ]; then # coreutils 8.31 and later know how
  export IMLKD_HOLD_INTERRUPT=
  ! env --block-signal=INT true 2>/dev/null || IMLKD_HOLD_INTERRUPT="env --block-signal=INT"
fi
if [ -z "${IMLKD_PYTHON:-}" ]; then
  "$IMLKD_ROOT/utils/make_venv.sh" || return $? 2>/dev/null || exit 1
  export IMLKD_PYTHON="$IMLKD_ROOT/.venv/bin/python"
elif [ "${IMLKD_PYTHON_CHECKED:-}" != "$IMLKD_PYTHON" ]; then
  "$IMLKD_ROOT/utils/make_venv.sh" --check "$IMLKD_PYTHON" || return $? 2>/dev/null || exit 1
fi
export IMLKD_PYTHON_CHECKED="$IMLKD_PYTHON"
