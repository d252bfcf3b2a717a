package ClusterJobs;

# What slurm.pl and queue.pl share: the command line of run.pl, options by conf/*.conf, one array job that is waited for.
# Each job runs in cluster_job.sh, which writes its log and, when it has come to its end, its exit code.

use strict;
use warnings;
use Cwd qw(getcwd);
use File::Basename qw(basename dirname);
use File::Path qw(make_path);
use FindBin qw($RealBin);
use POSIX ();

my $USAGE = <<'END';
usage: PROGRAM [options] [JOB=1:n] <log-file> <command> [<argument> ...]
 e.g.: PROGRAM --mem 4G JOB=1:4 exp/log/extract.JOB.log extract.py --part data/split4/JOB
Runs n copies of the command on a cluster, with JOB replaced by 1 to n in the command and in the log name, and waits.
  --config <file>                 # what options mean (default: conf/CONFIG here, else that of the recipe)
  --max-jobs-run <n>, -tc <n>     # jobs at a time (default: as many as the cluster gives)
  any other --<name> <value>      # what the configuration has a line for: --mem 4G, --num-threads 4, --gpu 1 ...
Scripts and what the cluster itself says lie in q/ beside the logs. Repository and data are on a disk all nodes see.
Ends with 0 when every job did, otherwise with 1. Ctrl-C or SIGTERM takes the jobs off the cluster.
END
my $EVERY = $ENV{IMLKD_POLL_SECONDS} || 15;    # between questions to the cluster
my $MISSED = 3;                                # so often a job has to be unknown before it counts as gone

my ($engine, %option, $array, $config_path);
my $stop_signal = '';

sub main {
    ($engine) = @_;
    read_command_line();
    usage() if @ARGV < 2;
    my ($log, @words) = @ARGV;
    my ($first, $last) = $array ? ($array->{first}, $array->{last}) : (1, 1);
    if ($last > $first && index($log, $array->{word}) < 0) {
        fail("$log: one log file for jobs $first to $last, put $array->{word} into its name");
    }
    my @submit = submit_words(read_config());
    my $prefix = write_jobs($log, $first, $last, join(' ', map { quoted($_) } @words));
    $SIG{$_} = sub { $stop_signal = $_[0] } for qw(INT TERM);
    $SIG{HUP} = sub { $stop_signal = $_[0] } unless ($SIG{HUP} || '') eq 'IGNORE';
    my $id = submit($prefix, $first, $last, @submit);
    my %code = wait_for($id, $prefix, $first .. $last);
    my @failed = grep { $code{$_} ne '0' } $first .. $last;
    exit 0 unless @failed;
    report($log, $prefix, \@failed, $last - $first + 1);
    exit 1;
}

sub fail {
    print STDERR "$engine->{program}: $_[0]\n";
    exit 1;
}

sub usage {
    (my $text = $USAGE) =~ s/PROGRAM/$engine->{program}/g;
    $text =~ s/CONFIG/$engine->{config}/;
    print STDERR $text;
    exit 1;
}

# ------------------------------------------------------------------------------------------------ options

sub read_command_line {
    while (@ARGV) {
        if ($ARGV[0] =~ /^--?h(elp)?$/) {
            usage();
        } elsif ($ARGV[0] =~ /^-/) {
            read_option(shift @ARGV);
        } elsif ($ARGV[0] =~ /^([A-Za-z_]\w*)=(\d+)(?::(\d+))?$/ && !$array) {
            $array = {word => $1, first => $2, last => defined $3 ? $3 : $2};
            fail("$ARGV[0]: jobs count from 1 (grid engines know no job 0)") if $2 < 1;
            fail("$ARGV[0]: the range ends before it begins") if $array->{last} < $array->{first};
            shift @ARGV;
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
    $name = '--max-jobs-run' if $name eq '-tc';
    fail("option $name needs a value") unless @ARGV;
    my $value = shift @ARGV;
    if ($name eq '--config') {
        $config_path = $value;
    } elsif ($name eq '-pe') {    # -pe smp 4, as grid engines write it
        $option{num_threads} = shift @ARGV;
    } elsif ($name =~ /^--([a-z][a-z0-9_-]*)$/) {
        (my $key = $1) =~ tr/-/_/;
        fail("$name takes a whole number from 1, not '$value'") if $key eq 'max_jobs_run' && $value !~ /^[1-9]\d*$/;
        $option{$key} = $value;
    } else {
        fail("option $name: not known; write --mem 4G, --num-threads 4, --time 4:00:00");
    }
}

# {command, options: [key, value or *, words], default: {key => value}, path}
sub read_config {
    my @places = defined $config_path ? $config_path : ("conf/$engine->{config}", "$RealBin/../conf/$engine->{config}");
    my ($path) = grep { -f } @places or fail("$places[0]: no such file: it says what options mean on this cluster");
    open(my $in, '<', $path) or fail("$path: cannot be read ($!)");
    my %config = (path => $path, options => [], default => {});
    while (my $line = <$in>) {
        $line =~ s/^\s*(#.*)?|\s+$//g;
        next if $line eq '';
        if ($line =~ /^command\s+(\S.*)$/) {
            $config{command} = $1;
        } elsif ($line =~ /^option\s+(\w+)=(\S*)\s*(.*?)(\s+#.*)?$/) {
            push @{$config{options}}, [$1, $2, $3];
        } elsif ($line =~ /^default\s+(\w+)=(\S*)$/) {
            $config{default}{$1} = $2;
        } else {
            fail("$path line $.: '$line' is neither command, option K=V WORDS nor default K=V");
        }
    }
    fail("$path: has no line 'command'") unless $config{command};
    return \%config;
}

sub submit_words {
    my ($config) = @_;
    my %given = (%{$config->{default}}, %option);
    my @words = split ' ', $config->{command};
    for my $key (sort keys %given) {
        my @fit = grep { $_->[0] eq $key } @{$config->{options}};
        my ($line) = ((grep { $_->[1] eq $given{$key} } @fit), (grep { $_->[1] eq '*' } @fit));
        if (!$line) {
            (my $shown = "--$key") =~ tr/_/-/;
            fail("option $shown $given{$key}: $config->{path} has no line for it: add 'option $key=* ...'");
        }
        (my $text = $line->[2]) =~ s/\$0/$given{$key}/g;
        push @words, split ' ', $text;
    }
    return @words;
}

# ------------------------------------------------------------------------------------------------ the jobs

# Kaldi's rules: a word goes to the shell as it is (so '|' and '>' work), anything with white space is quoted.
sub quoted {
    my ($word) = @_;
    return $word if $word =~ /^\S+\z/;
    return "\"$word\"" unless $word =~ /"/;
    return single($word);
}

sub single {
    my ($word) = @_;
    $word =~ s/'/'\\''/g;
    return "'$word'";
}

# A file q/<name>.<job>.sh each, with log and command of the job; returns q/<name>.
sub write_jobs {
    my ($log, $first, $last, $command) = @_;
    (my $name = basename($log)) =~ s/\.log\z//;
    $name =~ s/\.?\Q$array->{word}\E// if $array;
    my $folder = dirname($log) . '/q';
    $folder =~ s/\Q$array->{word}\E/all/g if $array;
    make_path($folder, {error => \my $ignored});
    my $prefix = "$folder/" . ($name eq '' ? 'job' : $name);
    for my $job ($first .. $last) {
        my ($own_log, $own_command) = ($log, $command);
        if ($array) {
            s/\Q$array->{word}\E/$job/g for $own_log, $own_command;
        }
        make_path(dirname($own_log), {error => \my $unused});
        unlink $own_log, "$prefix.$job.code";
        write_file("$prefix.$job.sh", 'log=' . single($own_log) . "\ncommand=" . single($own_command) . "\n");
    }
    my $words = join ' ', map { single($_) } "$RealBin/lib/cluster_job.sh", $prefix;
    my $here = single(getcwd());
    write_file("$prefix.sh", "#!/bin/bash\ncd $here && exec bash $words \"\${$engine->{task}}\"\n");
    return $prefix;
}

sub write_file {
    my ($path, $text) = @_;
    my $out;
    open($out, '>', $path) && print($out $text) && close($out) or fail("$path: cannot be written ($!)");
}

sub submit {
    my ($prefix, $first, $last, @words) = @_;
    unlink "$prefix.out";
    my @command = (
        @words, $engine->{fixed}->(basename($prefix), "$prefix.out"),
        $engine->{array}->($first, $last, $option{max_jobs_run}), "$prefix.sh",
    );
    my ($said, $status) = answer(@command);
    my ($id) = map { /$engine->{id}/ ? $1 : () } split /\n/, $said;
    return $id if $status == 0 && defined $id;
    $said =~ s/\s+/ /g;
    fail("@command: the cluster takes no job: $said");
}

# What a command says on both streams, and its status.
sub answer {
    my (@command) = @_;
    my $pid = open(my $in, '-|');
    defined $pid or fail("no process can be started ($!)");
    if ($pid == 0) {
        open(STDERR, '>&', \*STDOUT);
        $SIG{$_} = 'IGNORE' for qw(INT TERM);    # ours to handle: the question is short
        no warnings 'exec';
        exec {$command[0]} @command;
        print "$command[0]: $!\n";
        POSIX::_exit(127);
    }
    local $/;
    my $said = <$in>;
    close $in;
    return (defined $said ? $said : '', $?);
}

# job => exit code, or what became of it
sub wait_for {
    my ($id, $prefix, @jobs) = @_;
    my (%code, %missed);
    my ($waited, $pause) = (0, 0.2);
    while (1) {
        take_off($id) if $stop_signal;
        for my $job (grep { !defined $code{$_} } @jobs) {
            my $found = read_code("$prefix.$job.code");
            $code{$job} = $found if defined $found;
        }
        my @open = grep { !defined $code{$_} } @jobs;
        return %code unless @open;
        if ($waited >= $EVERY) {
            $waited = 0;
            my %known = known_tasks($id, @open);
            for my $job (@open) {
                $missed{$job} = $known{$job} ? 0 : ($missed{$job} || 0) + 1;
                $code{$job} = 'gone' if $missed{$job} >= $MISSED;
            }
        }
        select(undef, undef, undef, $pause);
        $waited += $pause;
        $pause = $pause * 1.2 > 2 ? 2 : $pause * 1.2;
    }
}

sub read_code {
    my ($path) = @_;
    open(my $in, '<', $path) or return undef;
    my $line = <$in>;
    return defined $line && $line =~ /^(\d+)$/ ? $1 : undef;
}

# The tasks that the cluster still has; all of them where it gives no answer.
sub known_tasks {
    my ($id, @open) = @_;
    my ($said, $status) = answer($engine->{list}->($id));
    return () if $said =~ $engine->{unknown};
    return map { $_ => 1 } @open if $status != 0 || !$engine->{task_in};
    return map { /$engine->{task_in}/ ? ($1 => 1) : () } split /\n/, $said;
}

sub take_off {
    my ($id) = @_;
    answer($engine->{cancel}->($id));
    print STDERR "$engine->{program}: job $id taken off the cluster\n";
    $SIG{$stop_signal} = 'DEFAULT';
    kill $stop_signal, $$;
    exit 1;
}

sub report {
    my ($log, $prefix, $failed, $count) = @_;
    (my $shown = $log) =~ s/\Q$array->{word}\E/$count > 1 ? '*' : $failed->[0]/ge if $array;
    $shown = $log unless $array;
    my $many = $count == 1 ? 'job failed' : scalar(@$failed) . " / $count failed";
    print STDERR "$engine->{program}: $many, log is in $shown, what the cluster says in $prefix.out\n";
}

1;
