#!/usr/bin/env perl
# Runs a command, or one copy of it for each job of an array, through Slurm. The command line is that of run.pl.

use strict;
use warnings;
use FindBin qw($RealBin);
use lib "$RealBin/lib";
use ClusterJobs;

ClusterJobs::main({
    program => 'slurm.pl',
    config  => 'slurm.conf',
    array   => sub {
        my ($first, $last, $at_once) = @_;
        return ('--array', "$first-$last" . ($at_once ? "%$at_once" : ''));
    },
    fixed   => sub {
        my ($name, $output) = @_;
        return ('--parsable', '--job-name', $name, '--output', $output);
    },
    task    => 'SLURM_ARRAY_TASK_ID',
    id      => qr/^(\d+)/,
    cancel  => sub { return ('scancel', $_[0]) },
    # Tasks that Slurm still knows; the same line for those that wait and those that run.
    list    => sub { return ('squeue', '--noheader', '--array', '--jobs', $_[0], '--format', '%K %T') },
    task_in => qr/^\s*(\d+)\s+(?!COMPLETED|FAILED|CANCELLED|TIMEOUT)\w+/,
    unknown => qr/Invalid job id/,
});
