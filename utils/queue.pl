#!/usr/bin/env perl
# Runs a command, or one copy of it for each job of an array, through Grid Engine. The command line is that of run.pl.

use strict;
use warnings;
use FindBin qw($RealBin);
use lib "$RealBin/lib";
use ClusterJobs;

ClusterJobs::main({
    program => 'queue.pl',
    config  => 'queue.conf',
    array   => sub { return ('-t', "$_[0]:$_[1]") },
    fixed   => sub {
        my ($name, $output) = @_;
        return ('-N', $name, '-j', 'y', '-o', $output);
    },
    task    => 'SGE_TASK_ID',
    id      => qr/[Yy]our job(?:-array)? (\d+)/,
    cancel  => sub { return ('qdel', $_[0]) },
    # `qstat -j` knows a job until its last task has ended, and doesn't say which tasks are left.
    list    => sub { return ('qstat', '-j', $_[0]) },
    task_in => undef,
    unknown => qr/do(?:es)? not exist/,
});
