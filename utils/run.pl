#!/usr/bin/env perl
# Runs a command, or one copy of it for each job of an array, on this machine.
# Takes the command line of Kaldi's job runners, so that queue.pl or slurm.pl can stand in its place.

use strict;
use warnings;
use File::Basename qw(dirname);
use File::Path qw(make_path);
use POSIX qw(WNOHANG strftime);

my $USAGE = <<'END';
usage: run.pl [options] [JOB=1:n] <log-file> <command> [<argument> ...]
 e.g.: run.pl JOB=1:4 exp/log/extract.JOB.log extract.py --part data/split4/JOB
Runs n copies of the command with JOB replaced by 1 to n in the command and in the log name (any word will do for JOB).
Output of both streams goes to the log. A '|', '<', '>' or ';' for the shell of the job is given quoted.
  --max-jobs-run <n>, -tc <n>     # jobs at a time (default: the number of CPUs, with --gpu that of GPUs)
  --gpu <n>                       # GPUs a job; each job sees only its own in CUDA_VISIBLE_DEVICES (default: 0)
  --pick all|failed|incomplete    # all jobs; those that failed or never ended; those that never ended (default: all)
Any other option is taken with one argument and ignored (--mem 4G, --num-threads 4, -pe smp 4 ...).
Ends with 0 when every job did, otherwise with 1. Ctrl-C or SIGTERM ends the jobs as well.
END

my %option = (max_jobs => 0, gpu => 0, pick => 'all');
my $array;    # {word, first, last} of JOB=1:n
my ($stop_signal, %running, %devices_used);
my $mark = "$$-$^T";    # in the environment of each process of a job; a nested run.pl adds its own

main();

sub main {
    read_options();
    if (@ARGV < 2) {
        print STDERR $USAGE;
        exit 1;
    }
    my ($log, $command) = (shift @ARGV, quoted_command(@ARGV));
    my ($first, $last) = $array ? ($array->{first}, $array->{last}) : (1, 1);
    if ($last > $first && index($log, $array->{word}) < 0) {
        fail("$log: one log file for jobs $first to $last, put $array->{word} into its name");
    }
    my @jobs = map { job($_, $log, $command) } $first .. $last;
    my @failed = run_all(@jobs);
    exit 0 unless @failed;
    report($log, scalar(@jobs), @failed);
    exit 1;
}

sub fail {
    print STDERR "run.pl: $_[0]\n";
    exit 1;
}

sub read_options {
    while (@ARGV) {
        if ($ARGV[0] =~ /^--?h(elp)?$/) {
            print $USAGE;
            exit 0;
        } elsif ($ARGV[0] =~ /^-/) {
            read_option(shift @ARGV);
        } elsif ($ARGV[0] =~ /^([A-Za-z_]\w*)=(\d+)(?::(\d+))?$/ && !$array) {
            read_range(shift @ARGV, $1, $2, defined $3 ? $3 : $2);
        } else {
            last;
        }
    }
    if (@ARGV && $ARGV[0] =~ /^[A-Za-z_]\w*=[^\/]*:[^\/]*$/) {
        fail("'$ARGV[0]' is no job range, write for example JOB=1:4");
    }
}

sub read_option {
    my ($name) = @_;
    return if $name eq '-V';
    fail("option $name needs a value") unless @ARGV;
    my $value = shift @ARGV;
    if ($name eq '--max-jobs-run' || $name eq '-tc') {
        $value =~ /^[1-9]\d*$/ or fail("$name takes a whole number from 1, not '$value'");
        $option{max_jobs} = $value;
    } elsif ($name eq '--gpu') {
        $value =~ /^\d+$/ or fail("--gpu takes a whole number from 0, not '$value'");
        $option{gpu} = $value;
    } elsif ($name eq '--pick') {
        $value =~ /^(all|failed|incomplete)$/ or fail("--pick takes all, failed or incomplete, not '$value'");
        $option{pick} = $value;
    } else {
        print STDERR "run.pl: warning: '$value' is taken for the value of $name\n" if $value =~ /^--/;
        shift @ARGV if $name eq '-pe';
    }
}

sub read_range {
    my ($text, $word, $first, $last) = @_;
    fail("$text: jobs count from 1 (grid engines know no job 0)") if $first < 1;
    fail("$text: the range ends before it begins") if $last < $first;
    $array = {word => $word, first => $first, last => $last};
}

# Kaldi's rules: a word goes to the shell as it is (so '|' and '>' work), anything with white space is quoted.
sub quoted_command {
    return join(' ', map { quoted($_) } @_);
}

sub quoted {
    my ($word) = @_;
    return $word if $word =~ /^\S+\z/;
    return "\"$word\"" unless $word =~ /"/;
    $word =~ s/'/'\\''/g;
    return "'$word'";
}

sub job {
    my ($number, $log, $command) = @_;
    if ($array) {
        s/\Q$array->{word}\E/$number/g for $log, $command;
    }
    return {log => $log, command => $command};
}

# ------------------------------------------------------------------------------------------------ running

# Returns the jobs that failed, in their order.
sub run_all {
    my @jobs = @_;
    my @waiting = grep { !defined($_->{code} = earlier_code($_->{log})) } @jobs;
    my @devices = $option{gpu} ? gpus() : ();
    my $at_once = $option{max_jobs} || ($option{gpu} ? int(@devices / $option{gpu}) || 1 : cpus());
    $SIG{$_} = sub { $stop_signal = $_[0] } for qw(INT TERM);
    $SIG{HUP} = sub { $stop_signal = $_[0] } unless ($SIG{HUP} || '') eq 'IGNORE';    # nohup stays in force
    $SIG{CHLD} = sub { };                                                             # only to wake the pause below
    while (@waiting || %running) {
        stop_everything() if $stop_signal;
        while (@waiting && keys %running < $at_once) {
            start(shift @waiting, @devices);
        }
        collect() or select(undef, undef, undef, 0.2);
    }
    stop_everything() if $stop_signal;
    return grep { $_->{code} ne '0' } @jobs;
}

# What --pick makes of the log of an earlier run: the exit code that stands for the job, undef if it is to be run.
sub earlier_code {
    my ($log) = @_;
    return undef if $option{pick} eq 'all';
    open(my $in, '<', $log) or return undef;
    my $last = '';
    while (my $line = <$in>) {
        $last = $line;
    }
    my ($code) = $last =~ /^# Ended \(code (\d+(?:; signal \d+)?)\) at / or return undef;
    return undef if $code ne '0' && $option{pick} eq 'failed';
    return $code;
}

sub start {
    my ($job, @devices) = @_;
    make_path(dirname($job->{log}), {error => \my $ignored});
    open(my $log, '>', $job->{log}) or stop_everything("$job->{log}: the log cannot be written ($!)");
    $job->{started} = time;
    print $log "# $job->{command}\n# Started at ", date(), "\n#\n";
    close $log or stop_everything("$job->{log}: the log cannot be written ($!)");
    $job->{devices} = [least_used($option{gpu}, @devices)];
    $devices_used{$_}++ for @{$job->{devices}};
    my $pid = fork;
    defined $pid or stop_everything("no process can be started ($!)");
    exec_job($job) if $pid == 0;
    $running{$pid} = $job;
}

sub exec_job {
    my ($job) = @_;
    $SIG{$_} = 'DEFAULT' for qw(INT TERM CHLD PIPE);
    $SIG{HUP} = 'DEFAULT' unless ($SIG{HUP} || '') eq 'IGNORE';
    $ENV{RUN_PL_JOBS} = join(' ', $ENV{RUN_PL_JOBS} || (), $mark);
    $ENV{CUDA_VISIBLE_DEVICES} = join(',', @{$job->{devices}}) if @{$job->{devices}};
    open(STDIN, '<', '/dev/null') && open(STDOUT, '>>', $job->{log}) && open(STDERR, '>&', \*STDOUT)
        or POSIX::_exit(126);
    no warnings 'exec';
    exec {'bash'} 'bash', '-c', $job->{command};
    print STDERR "run.pl: bash cannot be started ($!)\n";
    POSIX::_exit(127);
}

# Takes in every job that has ended; returns how many.
sub collect {
    my $count = 0;
    while ((my $pid = waitpid(-1, WNOHANG)) > 0) {
        my $status = $?;
        my $job = delete $running{$pid} or next;
        $devices_used{$_}-- for @{$job->{devices}};
        $count++;
        # An interrupted job gets no trailer, so that --pick incomplete runs it again.
        write_trailer($job, $status) unless $stop_signal;
    }
    return $count;
}

sub write_trailer {
    my ($job, $status) = @_;
    $job->{code} = ($status >> 8) . ($status & 127 ? '; signal ' . ($status & 127) : '');
    my $seconds = time - $job->{started};
    my $trailer = ends_with_newline($job->{log}) ? '' : "\n";
    $trailer .= "# Accounting: time=$seconds threads=1\n";
    $trailer .= "# Ended (code $job->{code}) at " . date() . ", elapsed time $seconds seconds\n";
    my $log;
    my $written = open($log, '>>', $job->{log}) && print($log $trailer) && close($log);
    stop_everything("$job->{log}: the log cannot be written ($!)") unless $written;
}

sub ends_with_newline {
    my ($path) = @_;
    open(my $in, '<', $path) or return 1;
    seek($in, -1, 2);
    return <$in> eq "\n";
}

sub date {
    POSIX::setlocale(POSIX::LC_TIME(), 'C');
    return strftime('%a %b %e %H:%M:%S %Z %Y', localtime);
}

# ------------------------------------------------------------------------------------------------ the machine

sub cpus {
    delete local $ENV{OMP_NUM_THREADS};    # nproc would take it for the number of CPUs
    for my $command ('nproc', 'getconf _NPROCESSORS_ONLN') {
        my $count = `$command 2>/dev/null`;
        return $1 if defined $count && $count =~ /^([1-9]\d*)/;
    }
    return 1;
}

sub gpus {
    my $visible = $ENV{CUDA_VISIBLE_DEVICES};
    my @devices;
    if (defined $visible) {
        @devices = grep { length } split(/\s*,\s*/, $visible);
    } else {
        my $count = grep { /^GPU \d+/ } `nvidia-smi -L 2>/dev/null`;
        @devices = $count ? (0 .. $count - 1) : ();
    }
    if (@devices < $option{gpu}) {
        my $source = defined $visible ? 'CUDA_VISIBLE_DEVICES names' : 'nvidia-smi lists';
        print STDERR "run.pl: warning: --gpu $option{gpu}, but $source ", scalar(@devices), "\n";
    }
    return @devices;
}

sub least_used {
    my ($count, @devices) = @_;
    my @by_use = sort { ($devices_used{$a} || 0) <=> ($devices_used{$b} || 0) } @devices;
    return @by_use[0 .. ($count < @by_use ? $count : scalar @by_use) - 1];
}

# ------------------------------------------------------------------------------------------------ stopping

# Ends the jobs with all they started, then this process: by the signal it got, so that a calling shell stops too.
# The jobs stay in our process group (a SIGKILL for the group reaches them), so they are found by descent, and where
# Ctrl-C has ended the parent already, by the mark in their environment.
sub stop_everything {
    my ($complaint) = @_;
    $stop_signal ||= 'TERM';
    $SIG{$_} = 'IGNORE' for qw(INT TERM HUP);
    my @left = end_processes();
    $complaint = "stopped by SIG$stop_signal" unless defined $complaint;
    print STDERR "run.pl: $complaint", @left ? "; processes that could not be ended: @left" : '', "\n";
    exit 1 if $complaint !~ /^stopped by/;
    $SIG{$stop_signal} = 'DEFAULT';
    kill $stop_signal, $$;
    exit 1;
}

# Signals, ever less polite, a second apart. Ctrl-C has reached the jobs already, and a second SIGINT would hit their
# cleaning up, so that one comes late. Returns the pids that are still there.
sub end_processes {
    my %known;
    for my $signal ($stop_signal eq 'INT' ? '' : (), $stop_signal, 'TERM', 'KILL', 'KILL') {
        for my $round (1 .. 20) {
            collect();
            add_descendants(\%known);
            return unless %known;
            kill($signal, keys %known) if $round == 1 && $signal;
            select(undef, undef, undef, 0.05);
        }
    }
    return keys %known;
}

# Keeps in %$known the live processes of the jobs: pid => time of its start, which tells a reused pid.
sub add_descendants {
    my ($known) = @_;
    my %process = processes();
    for my $pid (keys %$known) {
        delete $known->{$pid} unless $process{$pid} && $process{$pid}{started} eq $known->{$pid};
    }
    my @family = (keys %running, keys %$known, grep { $process{$_}{marked} } keys %process);
    my %children;
    push @{$children{$process{$_}{parent}}}, $_ for keys %process;
    my %seen;
    while (defined(my $pid = shift @family)) {
        next if $seen{$pid}++ || !$process{$pid};
        $known->{$pid} = $process{$pid}{started};
        push @family, @{$children{$pid} || []};
    }
}

# All live processes (zombies are none): pid => {parent, started, marked}.
sub processes {
    my %process;
    if (opendir(my $proc, '/proc')) {
        for my $pid (grep { /^\d+$/ } readdir $proc) {
            open(my $in, '<', "/proc/$pid/stat") or next;
            my ($rest) = (<$in> || '') =~ /^.*\)\s+(.*)/s or next;
            my @field = split ' ', $rest;
            next if $field[0] eq 'Z';
            $process{$pid} = {parent => $field[1], started => $field[19], marked => is_marked($pid)};
        }
    }
    return %process if %process;
    for my $line (`ps -A -o pid= -o ppid= -o stat= 2>/dev/null`) {
        my ($pid, $parent, $state) = split ' ', $line;
        $process{$pid} = {parent => $parent, started => ''} unless $state =~ /^Z/;
    }
    return %process;
}

sub is_marked {
    my ($pid) = @_;
    open(my $in, '<', "/proc/$pid/environ") or return 0;
    local $/;
    my $environment = <$in>;
    return defined $environment && $environment =~ /(?:^|\0)RUN_PL_JOBS=[^\0]*\b\Q$mark\E\b/ ? 1 : 0;
}

# ------------------------------------------------------------------------------------------------ the report

sub report {
    my ($log, $count, @failed) = @_;
    if ($count == 1) {
        print STDERR "run.pl: job failed, log is in $failed[0]{log}\n";
        if (!$array && $log =~ /JOB/) {
            print STDERR "run.pl: the log name holds JOB but there is no JOB=1:n before it\n";
        }
    } else {
        (my $pattern = $log) =~ s/\Q$array->{word}\E/*/g;
        print STDERR "run.pl: ", scalar(@failed), " / $count failed, log is in $pattern\n";
    }
    my $last = last_words($failed[0]{log});
    print STDERR "run.pl: $failed[0]{log} ends with: $last\n" if length $last;
}

sub last_words {
    my ($log) = @_;
    open(my $in, '<', $log) or return '';
    my $last = '';
    while (my $line = <$in>) {
        $last = $line if $line =~ /\S/ && $line !~ /^#/;
    }
    $last =~ s/\s+\z//;
    return $last =~ /([^\r]*)\z/ ? $1 : $last;    # a progress bar rewrites its line after each \r
}
