#!/usr/bin/env bash
# One job of slurm.pl or queue.pl, on its node: cluster_job.sh <q/name> <job>
# Writes the log as run.pl does, and q/<name>.<job>.code when the job has come to its end. Status 75 of the command
# (saved on request, or a node of its training is lost) gives the job back to the cluster, at most 100 times.
set -uo pipefail

prefix=$1
job=$2
restarts=${IMLKD_RESTARTS:-100}
log='' command=''
# shellcheck source=/dev/null
. "$prefix.$job.sh" # sets both
count_file=$prefix.$job.restarts
export IMLKD_CLUSTER_JOB=1

note() { printf '%s\n' "$*" >> "$log"; }
now() { LC_ALL=C date '+%a %b %e %H:%M:%S %Z %Y'; }

if [ -s "$log" ]; then # the cluster has started this job before
  note "# Started again at $(now) on $(hostname)"
else
  rm -f "$count_file"
  note "# $command"
  note "# Started at $(now) on $(hostname)"
  note "#"
fi

child=''
# shellcheck disable=SC2317,SC2329  # called by the traps
pass_on() { [ -z "$child" ] || kill -s "$1" "$child" 2> /dev/null || true; }
trap 'pass_on TERM' TERM
trap 'pass_on USR1' USR1 USR2 # USR2: Grid Engine's warning before it kills a job
trap 'pass_on INT' INT

bash -c "$command" < /dev/null >> "$log" 2>&1 &
child=$!
code=0
while wait "$child" || code=$?; do # a signal ends `wait` and not the command
  kill -0 "$child" 2> /dev/null || break
  code=0
done

count=$(cat "$count_file" 2> /dev/null || echo 0)
in_slurm=${SLURM_JOB_ID:-}
# Of a job that is cancelled, preempted or short of a node Slurm itself knows what comes next, and has said so by now.
if [ "$code" -ne 0 ] && [ -n "$in_slurm" ] && ! scontrol show job -o "$in_slurm" | grep -q 'JobState=RUNNING '; then
  note "# Left to Slurm (code $code) at $(now)"
  exit "$code"
fi
if [ "$code" -eq 75 ] && [ "$count" -lt "$restarts" ]; then
  echo $((count + 1)) > "$count_file"
  note "# Given back to the cluster at $(now)"
  [ -n "$in_slurm" ] || exit 99 # Grid Engine queues it again
  scontrol requeue "$in_slurm"
  sleep 60 # until Slurm ends this script
  exit 75
fi
[ -z "$(tail -c 1 "$log")" ] || echo >> "$log"
note "# Accounting: time=$SECONDS threads=1"
note "# Ended (code $code) at $(now), elapsed time $SECONDS seconds"
echo "$code" > "$prefix.$job.code.new" && mv "$prefix.$job.code.new" "$prefix.$job.code"
exit "$code"
