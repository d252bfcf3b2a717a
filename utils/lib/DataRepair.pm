package DataRepair;

# Brings the tables of a Kaldi data directory in line with each other: sorts, drops repeated lines, keeps what every
# table knows, rebuilds spk2utt. Old files go to .backup. What has no mechanical cure ends with one line.

use strict;
use warnings;
use DataTables qw(%TABLES $program fail first_five each_row kinds_in positions_only_in require_data_dir stage_in
    drop_stage open_rows write_rows write_text);

sub main {
    my ($dir, $utt_extra, $spk_extra) = @_;
    $program = 'fix_data_dir.sh';
    my %extra = map({ $_ => 'utt' } split ' ', $utt_extra);
    $extra{$_} = 'spk' for split ' ', $spk_extra;
    repair($dir, shown => $dir, extra => \%extra, backup => 1);
}

# Options: shown (name in messages), extra ({file => utt|spk}, filtered by their first column), backup.
sub repair {
    my ($dir, %option) = @_;
    require_data_dir($dir);
    $option{shown} = $dir unless defined $option{shown};
    my %extra = %{$option{extra} || {}};
    -e "$dir/$_" || fail("$option{shown}/$_: no such file") for sort keys %extra;
    my %kinds = kinds_in($dir);
    my @notes;
    my $state = survivors($dir, \%kinds, \@notes, %option);
    my $stage = stage_in($dir);
    my @changed = write_all($dir, $stage, {%kinds, %extra}, $state, \@notes, %option);
    move_in($dir, $stage, $option{backup}, @changed);
    drop_stage($stage);
    report($dir, $state, \@notes, \@changed, %option);
}

# ------------------------------------------------------------------------------------------------ what stays

# What stays: {total, speakers (how many there were), utts, owners (speaker of each, in order), keep => {spk, rec =>
# {id => 1}}, dropped => [ids], size => {table => lines}} (a table that needs no cleaning has its size noted).
sub survivors {
    my ($dir, $kinds, $notes, %option) = @_;
    my $spoken = loose_table($dir, 'utt2spk', $notes, %option);
    my $utts = $spoken->{ids};
    my %size = ('utt2spk' => $spoken->{size});
    my (%lost, $recordings);
    for my $name ($kinds->{segments} ? 'segments' : (), grep { !/^(?:utt2spk|spk2utt|segments)\z/ } sort keys %$kinds) {
        my $table = loose_table($dir, $name, $notes, %option);
        $size{$name} = $table->{size};
        $recordings = aligned($utts, $table) if $name eq 'segments';
        my @missing = $kinds->{$name} eq 'utt' ? positions_only_in($utts, $table->{ids})
            : positions_unowned($kinds->{$name} eq 'spk' ? $spoken->{rests} : $recordings, $table->{ids});
        $lost{$_} = 1 for @missing;
        push @$notes, @missing . " without a line in $name: " . first_five(@{$utts}[@missing]) if @missing;
    }
    my @kept = grep { !$lost{$_} } 0 .. $#$utts;
    @kept or fail("$option{shown}: no utterance is in every table, nothing was changed: $notes->[-1]");
    my %keep = (spk => {map { $_ => 1 } @{$spoken->{rests}}[@kept]});
    $keep{rec} = {map { $_ => 1 } @{$recordings}[@kept]} if $recordings;
    my %speakers = map { $_ => 1 } @{$spoken->{rests}};
    return {total => scalar @$utts, speakers => scalar(keys %speakers), utts => [@{$utts}[@kept]],
        owners => [@{$spoken->{rests}}[@kept]], keep => \%keep, size => \%size,
        dropped => [map { $utts->[$_] } sort { $a <=> $b } keys %lost]};
}

# The recording of each utterance, undef where segments has none.
sub aligned {
    my ($utts, $segments) = @_;
    my ($at, @recordings) = (0);
    for my $utt (@$utts) {
        $at++ while $at < @{$segments->{ids}} && $segments->{ids}[$at] lt $utt;
        my $found = $at < @{$segments->{ids}} && $segments->{ids}[$at] eq $utt;
        push @recordings, $found ? ($segments->{rests}[$at] =~ /^([^ \t]+)/)[0] : undef;
    }
    return \@recordings;
}

# Positions of the utterances whose speaker or recording is not among @$known.
sub positions_unowned {
    my ($owners, $known) = @_;
    my %known = map { $_ => 1 } @$known;
    return grep { defined $owners->[$_] && !$known{$owners->[$_]} } 0 .. $#$owners;
}

# A table in any order as {ids, rests}, sorted, and size where it was in order already. Notes what was cleaned, repeated
# or impossible. Two different lines for one id are an error: there is no telling which is right.
sub loose_table {
    my ($dir, $name, $notes, %option) = @_;
    my (@ids, @rests, @lines, %counts, @impossible);
    my $can_drop = $TABLES{$name} && $TABLES{$name}{kind} eq 'utt';
    my $in_order = 1;
    each_row($dir, $name, sub {
        $in_order = 0 if @ids && $_[0] le $ids[-1];
        push @ids, $_[0];
        push @rests, $_[1];
        push @lines, $_[2];
    }, shown => $option{shown}, loose => 1, counts => \%counts,
        on_value => $can_drop ? sub { push @impossible, "'$_[0]': $_[1]" } : undef);
    my $table = {ids => \@ids, rests => \@rests};
    $table = in_order("$option{shown}/$name", $table, \@lines, \%counts) unless $in_order;
    push @$notes, map { "$name: $_: $counts{$_}, cleaned" } sort keys %counts;
    push @$notes, "$name: impossible values: " . @impossible . ", the first $impossible[0]" if @impossible;
    $table->{size} = @ids if $in_order && !%counts && !@impossible;
    return $table;
}

sub in_order {
    my ($path, $table, $lines, $counts) = @_;
    my ($ids, $rests) = @{$table}{qw(ids rests)};
    my (@new_ids, @new_rests, $last);
    for my $index (sort { $ids->[$a] cmp $ids->[$b] || $a <=> $b } 0 .. $#$ids) {
        if (defined $last && $ids->[$last] eq $ids->[$index]) {
            $rests->[$last] eq $rests->[$index] or fail("$path:$lines->[$index]: '$ids->[$index]' stands in line "
                . "$lines->[$last] with another value, delete the wrong line");
            $counts->{'repeated lines'}++;
            next;
        }
        push @new_ids, $ids->[$index];
        push @new_rests, $rests->[$index];
        $last = $index;
    }
    return {ids => \@new_ids, rests => \@new_rests};
}

# ------------------------------------------------------------------------------------------------ writing

# Writes the tables that change into $stage; returns their names.
sub write_all {
    my ($dir, $stage, $kinds, $state, $notes, %option) = @_;
    my @names = grep { !is_settled($_, $kinds->{$_}, $state) } sort keys %$kinds;
    for my $name (grep { $_ ne 'spk2utt' } @names) {
        if ($TABLES{$name}) {
            write_kept("$stage/$name", $name, $kinds->{$name}, $state, loose_table($dir, $name, [], %option), $notes);
        } else {
            write_filtered("$dir/$name", "$stage/$name", $state, $kinds->{$name}, $notes);
        }
    }
    write_spk2utt("$stage/spk2utt", $state);
    push @names, 'spk2utt' unless $kinds->{spk2utt};
    return grep { !-e "$dir/$_" || !same_content("$dir/$_", "$stage/$_") } @names;
}

# In order, well formed, and with as many lines as there are ids to keep, all of which it has.
sub is_settled {
    my ($name, $kind, $state) = @_;
    my $size = $state->{size}{$name};
    return defined $size && $size == ($kind eq 'utt' ? @{$state->{utts}} : keys %{$state->{keep}{$kind}});
}

sub write_kept {
    my ($path, $name, $kind, $state, $table, $notes) = @_;
    my $ids = $table->{ids};
    my @gone = $kind eq 'utt' ? positions_only_in($ids, $state->{utts})
        : grep { !$state->{keep}{$kind}{$ids->[$_]} } 0 .. $#$ids;
    my %gone = map { $_ => 1 } @gone;
    open_rows($path, sub {
        my ($write) = @_;
        for my $index (0 .. $#$ids) {
            $write->($ids->[$index], $table->{rests}[$index]) unless $gone{$index};
        }
    });
    my %dropped = map { $_ => 1 } @{$state->{dropped}};    # those are reported as such
    my @strange = grep { !$dropped{$_} } @{$ids}[@gone];
    my %noun = (utt => 'utterance', spk => 'speaker', rec => 'recording');
    push @$notes, "$name: lines of no kept $noun{$kind}: " . @strange . ': ' . first_five(@strange) if @strange;
}

sub write_spk2utt {
    my ($path, $state) = @_;
    my %utts;
    push @{$utts{$state->{owners}[$_]}}, $state->{utts}[$_] for 0 .. $#{$state->{utts}};
    write_rows($path, {map { $_ => join(' ', @{$utts{$_}}) } keys %utts});
}

# A file of other form: its lines whose first column is kept, ordered by it.
sub write_filtered {
    my ($old, $new, $state, $kind, $notes) = @_;
    my $keep = $kind eq 'spk' ? $state->{keep}{spk} : {map { $_ => 1 } @{$state->{utts}}};
    my (@lines, $gone);
    open(my $in, '<:raw', $old) or fail("$old: cannot be read ($!)");
    while (my $line = <$in>) {
        chomp $line;
        my ($id) = split ' ', $line, 2;
        defined $id && $keep->{$id} ? push(@lines, [$id, "$line\n"]) : $gone++;
    }
    push @$notes, "$old: lines of no kept id: $gone" if $gone;
    write_text($new, map { $_->[1] } sort { $a->[0] cmp $b->[0] } @lines);
}

sub same_content {
    my @paths = @_;
    my @in = map { open(my $in, '<:raw', $_) or return 0; $in } @paths;
    return 0 if -s $in[0] != -s $in[1];
    while (1) {
        my $count = read($in[0], my $one, 1 << 20);
        read($in[1], my $two, 1 << 20);
        return 0 if $one ne $two;
        return 1 unless $count;
    }
}

sub move_in {
    my ($dir, $stage, $backup, @names) = @_;
    my $safe = "$dir/.backup";
    if ($backup && @names) {
        -d $safe || mkdir $safe or fail("$safe: cannot be made ($!)");
    }
    for my $name (@names) {
        if ($backup && -e "$dir/$name") {
            unlink "$safe/$name";
            link("$dir/$name", "$safe/$name") || copy("$dir/$name", "$safe/$name");
        }
        rename "$stage/$name", "$dir/$name" or fail("$dir/$name: cannot be replaced ($!)");
    }
}

sub copy {
    my ($from, $to) = @_;
    open(my $in, '<:raw', $from) or fail("$from: cannot be read ($!)");
    local $/;
    write_text($to, <$in>);
}

# ------------------------------------------------------------------------------------------------ report

sub report {
    my ($dir, $state, $notes, $changed, %option) = @_;
    my ($kept, $speakers) = (scalar @{$state->{utts}}, scalar keys %{$state->{keep}{spk}});
    my $prefix = "$program: $option{shown}:";
    print "$prefix $_\n" for @$notes;
    my @dropped = @{$state->{dropped}};
    print "$prefix dropped ", scalar(@dropped), ' utterances: ', first_five(@dropped), "\n" if @dropped;
    print "$prefix kept $kept utterances out of $state->{total}, $speakers speakers out of $state->{speakers}\n";
    return unless $option{backup};
    my $changes = "changed @$changed; old files are kept in $option{shown}/.backup";
    print "$prefix ", @$changed ? $changes : 'nothing to change', "\n";
}

1;
