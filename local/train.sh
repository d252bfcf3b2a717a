#!/usr/bin/env bash
# Run a training of stage 2 or 4, and start it again when it was preempted: it has saved its state and goes on there.
set -euo pipefail

restarts=20
nproc=1
ngpu=0
nodes=
help_message="Usage: $0 [--nproc N | --ngpu N] [--nodes N] [--restarts N] imlkd model train-teacher|distil <argument>...
  --nproc N      processes of each machine that train the one model (default: $nproc)
  --ngpu N       GPUs of each machine, a process each, 0: CPU (default: $ngpu)
  --nodes N      machines (default: those of the Slurm job this runs in, or this one)
  --restarts N   how often a training that left with status 75 is started again (default: $restarts)
A training leaves with 75 after SIGTERM or SIGUSR1. When the signal came to this script it is passed on, and nothing is
started again: the machine is wanted back, and the same ./run.sh goes on later."

. ./path.sh
. utils/parse_options.sh
[ $# -ge 1 ] || { echo "$help_message" >&2; exit 1; }
if [ "$nproc $ngpu ${nodes:-${SLURM_JOB_NUM_NODES:-1}}" != "1 0 1" ]; then
  set -- imlkd launch --nproc "$nproc" --ngpu "$ngpu" ${nodes:+--nodes "$nodes"} "${@:2}"
fi
[ -z "${IMLKD_CLUSTER_JOB:-}" ] || restarts=0 # the cluster starts its jobs again itself

child='' told=''
# shellcheck disable=SC2317,SC2329  # called by the traps
pass_on() {
  told=$1
  [ -z "$child" ] || kill -s "$1" "$child" 2> /dev/null || true
}
trap 'pass_on TERM' TERM
trap 'pass_on USR1' USR1

for ((start = 0; start <= restarts; start++)); do
  "$@" &
  child=$!
  status=0
  while wait "$child" || status=$?; do # a signal ends `wait` and not the training
    kill -0 "$child" 2> /dev/null || break
    status=0
  done
  if [ $status -eq 143 ] || [ $status -eq 138 ]; then # by SIGTERM or SIGUSR1, before it could take signals itself
    echo "imlkd: preempted: nothing to save yet: run the same command again"
    status=75
  fi
  [ $status -eq 75 ] && [ -z "$told" ] || exit $status
  echo "$0: preempted: starting again"
done
exit 75
