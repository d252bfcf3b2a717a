# shellcheck shell=bash
# Which job runner each kind of work goes through. Sourced by run.sh.
#
# A runner is called as `<runner> [options] [JOB=1:n] <log> <command>`; utils/run.pl runs the jobs on this machine.
# On a cluster, take the lines below for utils/slurm.pl or utils/queue.pl (Grid Engine); nothing else changes. What an
# option such as --mem or --gpu means there stands in conf/slurm.conf or conf/queue.conf; run.pl passes over those it has
# no use for, so the same line works in both places. The repository and its data have to lie on a disk that all nodes
# see. docs/cluster.md says more.
#
#   train_cmd    teacher and students: few long jobs
#   extract_cmd  features, explaining the teacher, embeddings: many independent jobs
#   score_cmd    scoring trials: short jobs
#
# Stage 3 takes a GPU a job where there are any, trainings take those of `run.sh --ngpu` (neither has run on one so far).

train_cmd=run.pl
extract_cmd=run.pl
score_cmd=run.pl

# Slurm:
# train_cmd="slurm.pl --mem 16G"
# extract_cmd="slurm.pl --mem 4G"
# score_cmd="slurm.pl --mem 4G"

# Grid engine:
# train_cmd="queue.pl --mem 16G"
# extract_cmd="queue.pl --mem 4G"
# score_cmd="queue.pl --mem 4G"

# `run.sh --cmd <runner>` takes precedence over what stands above, for all three.
if [ -n "${cmd:-}" ]; then
  train_cmd=$cmd
  extract_cmd=$cmd
  score_cmd=$cmd
fi
export train_cmd extract_cmd score_cmd
