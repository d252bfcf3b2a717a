#!/usr/bin/env bash
# The recipe on a real Slurm: see tests/slurm.sh --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

conf=egs/minivox/conf_reduced
methods=none,kd,imlkd
work=
help_message="Usage: $0 [options]
Starts a Slurm of two nodes on the loopback of this machine (slurmctld, two slurmd, munged of its own; needs root and
Debian's slurm-wlm and munge), asks a small job to leave and sees it queued again, runs the reduced recipe through slurm.pl with trainings over both nodes, and kills one
node (its slurmd and all its processes) while the teacher trains; it comes back later, as a machine that was started
again. A second run in the middle of the students' training is preempted by 'scontrol requeue'. Then the same recipe
runs here, with two processes and no Slurm. The scores of both have to be equal to the bit.
  --conf DIR       configurations (default: $conf)
  --methods NAMES  (default: $methods)
  --work DIR       an empty folder that is kept (default: a temporary one)
Leaves with 77 where Slurm is not installed."

. ./path.sh
. utils/parse_options.sh

for program in slurmctld slurmd munged sbatch srun scontrol; do
  command -v "$program" > /dev/null || PATH=$PATH:/usr/sbin
  if ! command -v "$program" > /dev/null; then
    echo "$0: SKIPPED: $program is not installed (Debian: apt-get install slurm-wlm munge)"
    exit 77
  fi
done
[ "$(id -u)" = 0 ] || { echo "$0: SKIPPED: needs root, whose Slurm runs two nodes on one machine"; exit 77; }

keep=true
[ -n "$work" ] || { work=$(mktemp -d /tmp/imlkd-slurm.XXXXXX); keep=false; }
mkdir -p "$work/state"
chmod 755 "$work"
work=$(cd "$work" && pwd)
SECONDS=0
host=$(hostname -s)
export SLURM_CONF=$work/slurm.conf IMLKD_POLL_SECONDS=5
recipe=(./run.sh --conf "$conf" --methods "$methods" --nj 2 --data "$work/data")

say() { echo "$(date '+%H:%M:%S') $*"; }

configure() {
  dd if=/dev/urandom of="$work/munge.key" bs=1024 count=1 2> /dev/null
  chmod 400 "$work/munge.key"
  cat > "$SLURM_CONF" << END
ClusterName=loopback
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=17000
AuthType=auth/munge
AuthInfo=socket=$work/munge.socket,cred_expire=5
SlurmUser=root
SlurmdUser=root
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool.%n
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.%n.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.%n.log
SlurmdParameters=config_overrides
SlurmdTimeout=20
ReturnToService=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=17001 CPUs=1
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=17002 CPUs=1
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
END
}

start_slurm() {
  munged --force --key-file="$work/munge.key" --socket="$work/munge.socket" --pid-file="$work/munged.pid" \
    --log-file="$work/munged.log" --seed-file="$work/munge.seed" 2> "$work/munged.out"
  slurmctld -f "$SLURM_CONF"
  slurmd -N n1 -f "$SLURM_CONF"
  slurmd -N n2 -f "$SLURM_CONF"
  for _ in {1..60}; do
    [ "$(sinfo --noheader --format %T 2> /dev/null)" != idle ] || [ "$(sinfo --noheader --format %D)" != 2 ] || return 0
    sleep 1
  done
  echo "$0: Slurm does not start: see $work/*.log" >&2
  exit 1
}

stop_slurm() {
  local name
  [ ! -f "$work/slurmctld.pid" ] || scancel --user root 2> /dev/null || true
  for name in slurmd.n1 slurmd.n2 slurmctld munged; do
    [ ! -f "$work/$name.pid" ] || kill "$(cat "$work/$name.pid")" 2> /dev/null || true
  done
}

descendants() { # pid: it and all below it
  local child
  echo "$1"
  for child in $(pgrep --parent "$1"); do descendants "$child"; done
}

node_of() { # pid of a slurmstepd: the node of this Slurm that it works for, by what its child was told
  local child
  child=$(pgrep --parent "$1" | head -n 1)
  tr '\0' '\n' < "/proc/${child:-$1}/environ" 2> /dev/null > "$work/told" || return 0
  ! grep -qx "SLURM_CONF=$SLURM_CONF" "$work/told" || sed -n 's/^SLURMD_NODENAME=//p' "$work/told"
}

kill_node() { # its daemon, the keepers of its steps, and all that they run
  local pid doomed
  doomed=("$(cat "$work/slurmd.$1.pid")")
  for pid in $(pgrep --full '^slurmstepd: \['); do
    [ "$(node_of "$pid")" != "$1" ] || mapfile -t -O ${#doomed[@]} doomed < <(descendants "$pid")
  done
  kill -KILL "${doomed[@]}" 2> /dev/null || true
  say "node $1 killed: ${#doomed[@]} processes"
}

wait_for() { # seconds what command...: until the command is true
  local limit=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    kill -0 "$run" 2> /dev/null || { echo "$0: the recipe ended before $what: see $work/run.log" >&2; exit 1; }
    [ $SECONDS -lt $limit ] || { echo "$0: waited in vain for $what: see $work/run.log" >&2; exit 1; }
    sleep 0.5
  done
}

has_checkpoint() { compgen -G "$work/cluster/minivox_teacher/checkpoints/0*.pt" > /dev/null; }
trains_on_both() { [ "$(squeue --steps --noheader --format %N 2> /dev/null | grep -c 'n\[1-2\]')" -ge 1 ]; }
node_is_down() { sinfo --noheader --nodes n2 --format %T | grep -q down; }

preempt_a_job() { # one that is asked to leave goes back to the queue, and ends when it is started again
  local log=$work/preempted.log
  slurm.pl "$log" bash -c \
    "trap 'exit 75' USR1; [ ! -f $work/once ] || exit 0; touch $work/once; while :; do sleep 0.2; done" &
  run=$!
  wait_for 120 "the start of a job" test -f "$work/once"
  sleep 1
  scancel --signal USR1 --batch "$(squeue --noheader --format %i)"
  if ! wait "$run" || ! grep -q '^# Started again at ' "$log"; then
    echo "$0: a job that was asked to leave was not queued again: see $log" >&2
    exit 1
  fi
  say "a job that was asked to leave was queued again"
}

trap stop_slurm EXIT
configure
start_slurm
say "Slurm $(sinfo --version | cut -d' ' -f2) with $(sinfo --noheader --format %D) nodes in $work"
preempt_a_job

"${recipe[@]}" --cmd slurm.pl --nodes 2 --exp "$work/cluster" > "$work/run.log" 2>&1 &
run=$!
wait_for 3600 "the teacher's first checkpoint" has_checkpoint
trains_on_both || { echo "$0: the training is not on both nodes: see $work/slurmctld.log" >&2; exit 1; }
kill_node n2
wait_for 600 "Slurm's notice of it" node_is_down
slurmd -N n2 -f "$SLURM_CONF"
say "node n2 is back"
wait "$run" || { tail -n 20 "$work/run.log"; echo "$0: the recipe failed: see $work/run.log" >&2; exit 1; }
log=$work/cluster/minivox_teacher/log/train.1.log
grep -E '^(# Started|# Given back|imlkd: preempted|going on after)' "$log" || true
grep -q '^going on after ' "$log" || { echo "$0: the teacher did not go on from a checkpoint: see $log" >&2; exit 1; }
say "through Slurm: done"

"${recipe[@]}" --nproc 2 --exp "$work/local" > "$work/local.log" 2>&1 ||
  { tail -n 20 "$work/local.log"; echo "$0: the local run failed: see $work/local.log" >&2; exit 1; }
say "here, with two processes: done"

count=0 unequal=()
while read -r path; do
  count=$((count + 1))
  cmp -s "$work/local/$path" "$work/cluster/$path" || unequal+=("$path")
done < <(cd "$work/local" && find . -path '*/scores/*' -type f ! -name '.*' ! -name '*.json' | sort)
[ $count -gt 0 ] || { echo "$0: no scores in $work/local" >&2; exit 1; }
if [ ${#unequal[@]} -gt 0 ]; then
  echo "nodes 2, killed 1, scores NOT equal: ${unequal[*]} (kept in $work)"
  exit 1
fi
say "$count score files compared"
trap - EXIT
stop_slurm
[ "$keep" = true ] || rm -rf "$work"
echo "nodes 2, killed 1, scores equal"
