package DataSplit;

# Splits a data directory for parallel jobs: contiguous runs of speakers (or utterances), of about equal size.

use strict;
use warnings;
use Cwd qw(abs_path);
use DataSelect;
use DataTables qw(%TABLES @PLAIN_FILES $program fail each_row require_data_dir stage_in tables_in write_text);
use Fcntl qw(:flock);
use File::Path qw(remove_tree);

sub main {
    my ($dir, $count, $per_utt) = @_;
    $program = 'split_data.sh';
    require_data_dir($dir);
    my $name = "split$count" . ($per_utt ? 'utt' : '');
    my $target = "$dir/$name";
    open(my $lock, '>', "$dir/.split.lock") or fail("$dir: cannot be written to ($!)");
    flock($lock, LOCK_EX);    # two stages may want the same split at once
    my $stamp = stamp($dir);
    return if is_fresh($target, $count, $stamp);
    my $part_of = $per_utt ? parts_by_utterance($dir, $count) : parts_by_speaker($dir, $count);
    my $stage = stage_in($dir, ".$name.new");
    my @places = map { "$stage/$_" } 1 .. $count;
    mkdir $_ or fail("$_: cannot be made ($!)") for @places;
    DataSelect::write_parts($dir, $part_of, \@places, $target);
    write_text("$stage/.done", $stamp);
    replace($stage, $target, "$dir/.$name.old");
}

sub replace {
    my ($stage, $target, $old) = @_;
    remove_tree($old);
    !-e $target || rename $target, $old or fail("$target: cannot be replaced ($!)");
    rename $stage, $target or fail("$target: cannot be written ($!)");
    remove_tree($old);
}

# ------------------------------------------------------------------------------------------------ freshness

# What a split is made from: place, size and times of each file.
sub stamp {
    my ($dir) = @_;
    my @lines = ('dir ' . abs_path($dir));
    for my $name (tables_in($dir), grep { -e "$dir/$_" } @PLAIN_FILES) {
        next if $name eq 'spk2utt';    # made anew from utt2spk
        my ($inode, $size, $modified) = (file_times("$dir/$name"))[1, 7, 9];
        push @lines, "$name $size $modified $inode";
    }
    return join("\n", @lines) . "\n";
}

sub file_times {
    my ($path) = @_;
    return eval { require Time::HiRes; 1 } ? Time::HiRes::stat($path) : stat $path;
}

sub is_fresh {
    my ($target, $count, $stamp) = @_;
    open(my $in, '<:raw', "$target/.done") or return 0;
    my $made_from = do { local $/; <$in> };
    return 0 if $made_from ne $stamp;
    return !grep { !-s "$target/$_/utt2spk" } 1 .. $count;
}

# ------------------------------------------------------------------------------------------------ who goes where

sub parts_by_utterance {
    my ($dir, $count) = @_;
    my @utts;
    each_row($dir, 'utt2spk', sub { push @utts, $_[0] });
    my $total = @utts;
    $count <= $total or fail("$dir: $count jobs for $total utterances, use at most $total jobs");
    return {map { $utts[$_] => int($_ * $count / $total) } 0 .. $#utts};
}

sub parts_by_speaker {
    my ($dir, $count) = @_;
    my %utts;
    each_row($dir, 'utt2spk', sub { push @{$utts{$_[1]}}, $_[0] });
    my @speakers = sort keys %utts;
    my $total = @speakers;
    $count <= $total or fail("$dir: $count jobs for $total speakers, use at most $total jobs, or --per-utt");
    my @ends = run_ends([map { scalar @{$utts{$_}} } @speakers], $count);
    my (%part_of, $first);
    for my $part (0 .. $count - 1) {
        for my $speaker (@speakers[($part ? $ends[$part - 1] : 0) .. $ends[$part] - 1]) {
            $part_of{$_} = $part for @{$utts{$speaker}};
        }
    }
    return \%part_of;
}

# Cuts @$sizes into $count runs of at least one, each cut as near to its even share as it can be; returns the ends.
sub run_ends {
    my ($sizes, $count) = @_;
    my $all = 0;
    $all += $_ for @$sizes;
    my ($end, $sum, @ends) = (0, 0);
    for my $part (1 .. $count - 1) {
        my $share = $all * $part / $count;
        my $latest = @$sizes - ($count - $part);
        $sum += $sizes->[$end++];
        while ($end < $latest && abs($sum + $sizes->[$end] - $share) <= abs($sum - $share)) {
            $sum += $sizes->[$end++];
        }
        push @ends, $end;
    }
    return (@ends, scalar @$sizes);
}

1;
