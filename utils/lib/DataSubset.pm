package DataSubset;

# Makes a smaller data directory: picks utterances, and takes along what belongs to them.

use strict;
use warnings;
use DataSelect;
use DataTables qw($program fail first_five each_row require_data_dir same_place stage_in install carried_over);

my %PICK = (
    spread   => \&pick_spread,
    first    => sub { my ($count, $rows) = @_; map { $_->[0] } @{$rows}[0 .. $count - 1] },
    last     => sub { my ($count, $rows) = @_; map { $_->[0] } @{$rows}[-$count .. -1] },
    shortest => \&pick_shortest,
    per_spk  => \&pick_per_speaker,
    speakers => \&pick_speakers,
    spk_list => sub { pick_listed(1, @_) },
    utt_list => sub { pick_listed(0, @_) },
);

# $what: number of utterances, or the file with the list.
sub main {
    my ($mode, $from, $what, $to) = @_;
    $program = 'subset_data_dir.sh';
    require_data_dir($from);
    fail("$to: source and destination are the same directory") if same_place($from, $to);
    my @rows;    # [utterance, speaker]
    each_row($from, 'utt2spk', sub { push @rows, [@_[0, 1]] });
    if ($mode !~ /^(?:per_spk|spk_list|utt_list)\z/ && $what > @rows) {
        fail("$from: $what utterances asked for, there are " . scalar(@rows));
    }
    my @picked = $PICK{$mode}->($what, \@rows, $from);
    my $stage = stage_in($to);
    DataSelect::write_parts($from, {map { $_ => 0 } @picked}, [$stage], $to);
    install($stage, $to);
    my %speaker_of = map { @$_ } @rows;
    my %speakers = map { $speaker_of{$_} => 1 } @picked;
    my $counts = @picked . ' of ' . @rows . ' utterances, ' . keys(%speakers) . ' speakers';
    print "$program: $to: $counts\n";
    carried_over($from);
}

# $count of @_, evenly spread.
sub spread {
    my ($count, @all) = @_;
    return @all if $count >= @all;
    return map { $all[int($_ * @all / $count)] } 0 .. $count - 1;
}

sub pick_spread {
    my ($count, $rows) = @_;
    return spread($count, map { $_->[0] } @$rows);
}

sub by_speaker {
    my ($rows) = @_;
    my %utts;
    push @{$utts{$_->[1]}}, $_->[0] for @$rows;
    return \%utts;
}

sub pick_per_speaker {
    my ($count, $rows) = @_;
    my $utts = by_speaker($rows);
    return map { spread($count, @{$utts->{$_}}) } sort keys %$utts;
}

# Whole speakers in a random order that is the same on every run, until there are $count utterances.
sub pick_speakers {
    my ($count, $rows) = @_;
    my $utts = by_speaker($rows);
    my @speakers = sort keys %$utts;
    srand(1);
    my @picked;
    while (@picked < $count) {
        my ($speaker) = splice(@speakers, int(rand(@speakers)), 1);
        push @picked, @{$utts->{$speaker}};
    }
    return @picked;
}

sub pick_shortest {
    my ($count, $rows, $from) = @_;
    my ($table) = grep { -e "$from/$_" } qw(utt2num_frames utt2dur segments);
    $table or fail("$from: --shortest needs utt2num_frames, utt2dur or segments");
    my %length;
    each_row($from, $table, sub {
        my ($utt, @value) = ($_[0], split ' ', $_[1]);
        $length{$utt} = $table eq 'segments' ? $value[2] - $value[1] : $value[0];
    });
    my @utts = map { $_->[0] } @$rows;
    my @unknown = grep { !exists $length{$_} } @utts;
    @unknown and fail("$from/$table: no line for " . first_five(@unknown) . ", run utils/fix_data_dir.sh $from");
    return (sort { $length{$a} <=> $length{$b} || $a cmp $b } @utts)[0 .. $count - 1];
}

sub pick_listed {
    my ($column, $list, $rows, $from) = @_;
    open(my $in, '<:raw', $list) or fail("$list: cannot be read ($!)");
    my %wanted;
    while (my $line = <$in>) {
        my ($id) = split ' ', $line;
        $wanted{$id} = 1 if defined $id;
    }
    my %known = map { $_->[$column] => 1 } @$rows;
    my @unknown = grep { !$known{$_} } sort keys %wanted;
    my @picked = map { $_->[0] } grep { $wanted{$_->[$column]} } @$rows;
    my $noun = $column ? 'speakers' : 'utterances';
    @picked or fail("$list: none of its ids is among the $noun of $from: " . (first_five(@unknown) || 'it is empty'));
    print STDERR "$program: warning: $list: not among the $noun of $from: ", scalar(@unknown), ' of ',
        scalar(keys %wanted), ': ', first_five(@unknown), "\n" if @unknown;
    return @picked;
}

1;
