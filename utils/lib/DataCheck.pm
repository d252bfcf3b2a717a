package DataCheck;

# What a Kaldi data directory has to fulfil. validate() ends at the first breach with one line that names the place.

use strict;
use warnings;
use DataTables qw(%TABLES $program fail problem first_five each_row read_ids tables_in kinds_in
    positions_only_in);

sub main {
    my ($dir, @flags) = @_;
    $program = 'validate_data_dir.sh';
    validate($dir, map { $_ => 1 } @flags);
    print "$program: Successfully validated data-directory $dir\n";
}

# Flags: no_text, no_feats, no_wav, no_spk_sort, non_print; shown: the name of the directory in messages.
sub validate {
    my ($dir, %flag) = @_;
    my $shown = $flag{shown} = defined $flag{shown} ? $flag{shown} : $dir;
    -d $dir or fail("$shown: no such directory");
    require_files($dir, %flag);
    my ($utts, $speaker_of) = utterances($dir, %flag);
    my $speakers = speakers($dir, $speaker_of, $utts, %flag);
    my %lists = (utt => $utts, spk => $speakers);
    $lists{rec} = recordings($dir, $utts, %flag) if -e "$dir/segments";
    my %kinds = kinds_in($dir);
    for my $name (grep { !/^(?:utt2spk|spk2utt|segments)\z/ } sort keys %kinds) {
        my $ids = read_ids($dir, $name, shown => $shown, any_text => $flag{non_print} && $name eq 'text');
        require_same_ids(list("$shown/$name", $ids), $lists{$kinds{$name}}, $shown);
    }
}

# Ids in C order with the place of each: {path, ids, lines (undef: line $i + 1)}.
sub list {
    my ($path, $ids, $lines) = @_;
    return {path => $path, ids => $ids, lines => $lines};
}

sub require_files {
    my ($dir, %flag) = @_;
    my %remedy = (
        'utt2spk' => 'a data directory needs it',
        'spk2utt' => "make it with utils/utt2spk_to_spk2utt.pl $flag{shown}/utt2spk > $flag{shown}/spk2utt",
        'wav.scp' => 'make it or pass --no-wav',
        'feats.scp' => 'make it or pass --no-feats',
        'text' => 'make it or pass --no-text',
    );
    my @may_miss = grep { $remedy{$_} =~ /pass --no-(\w+)/ && $flag{"no_$1"} } keys %remedy;
    delete @remedy{@may_miss};
    for my $name ('utt2spk', 'spk2utt', 'wav.scp', 'feats.scp', 'text') {
        next if -e "$dir/$name" || !$remedy{$name};
        fail("$flag{shown}/$name: no such file, $remedy{$name}");
    }
    for my $name (tables_in($dir)) {
        -s "$dir/$name" or fail("$flag{shown}/$name: the file is empty, fill it"
            . ($name =~ /^(?:utt2spk|spk2utt|wav\.scp)\z/ ? '' : ' or delete it'));
    }
}

# Checks utt2spk alone; returns the list of its ids, and {utterance => speaker}.
sub utterances {
    my ($dir, %flag) = @_;
    my $path = "$flag{shown}/utt2spk";
    my (@utts, %speaker_of);
    my $previous = '';
    each_row($dir, 'utt2spk', sub {
        my ($utt, $spk, $line) = @_;
        if ($spk lt $previous && !$flag{no_spk_sort}) {
            problem($path, $line, "speaker '$spk' after '$previous': sorted by utterance but not by speaker",
                'make the speaker id the first part of the utterance id, or pass --no-spk-sort');
        }
        $previous = $spk;
        push @utts, $utt;
        $speaker_of{$utt} = $spk;
    }, shown => $flag{shown});
    return (list($path, \@utts), \%speaker_of);
}

# Checks spk2utt against utt2spk (and uses up %$speaker_of); returns the list of speakers.
sub speakers {
    my ($dir, $speaker_of, $utts, %flag) = @_;
    my $path = "$flag{shown}/spk2utt";
    my $remedy = "make it anew: utils/utt2spk_to_spk2utt.pl $flag{shown}/utt2spk > $path";
    my @speakers;
    each_row($dir, 'spk2utt', sub {
        my ($spk, $names, $line) = @_;
        push @speakers, $spk;
        for my $utt (split /[ \t]+/, $names) {
            my $other = delete $speaker_of->{$utt};
            next if defined $other && $other eq $spk;
            problem($path, $line, "utterance '$utt' of speaker '$spk' " . (defined $other ? "has '$other' in utt2spk"
                : 'is not in utt2spk, or has been here before'), $remedy);
        }
    }, shown => $flag{shown});
    if (%$speaker_of) {
        my ($index) = grep { exists $speaker_of->{$utts->{ids}[$_]} } 0 .. $#{$utts->{ids}};
        problem($utts->{path}, $index + 1, counted('utterance', 'not in spk2utt', sort keys %$speaker_of), $remedy);
    }
    return list($path, \@speakers);
}

# Checks segments; returns the list of the recordings it names.
sub recordings {
    my ($dir, $utts, %flag) = @_;
    my $path = "$flag{shown}/segments";
    my (@ids, %line_of);
    each_row($dir, 'segments', sub {
        my ($utt, $rest, $line) = @_;
        push @ids, $utt;
        my ($recording) = $rest =~ /^([^ \t]+)/;
        $line_of{$recording} = $line unless exists $line_of{$recording};
    }, shown => $flag{shown});
    require_same_ids(list($path, \@ids), $utts, $flag{shown});
    my @recordings = sort keys %line_of;
    return list($path, \@recordings, [@line_of{@recordings}]);
}

sub require_same_ids {
    my ($found, $wanted, $shown) = @_;
    return if same_list($found->{ids}, $wanted->{ids});
    my $repair = "add or take out lines, or run utils/fix_data_dir.sh $shown";
    for my $pair ([$wanted, $found], [$found, $wanted]) {
        my ($here, $there) = @$pair;
        my @only = positions_only_in($here->{ids}, $there->{ids}) or next;
        my $line = $here->{lines} ? $here->{lines}[$only[0]] : $only[0] + 1;
        my ($other) = $there->{path} =~ /([^\/]*)\z/;
        problem($here->{path}, $line, counted('id', "not in $other", map { $here->{ids}[$_] } @only), $repair);
    }
}

sub same_list {
    my ($here, $there) = @_;
    return 0 if @$here != @$there;
    for my $index (0 .. $#$here) {
        return 0 if $here->[$index] ne $there->[$index];
    }
    return 1;
}

sub counted {
    my ($noun, $what, @ids) = @_;
    return "'$ids[0]' is $what" if @ids == 1;
    return "'$ids[0]' is $what (" . scalar(@ids) . " ${noun}s: " . first_five(@ids) . ')';
}

1;
