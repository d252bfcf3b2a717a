package DataSelect;

# Writes parts of a data directory: each utterance goes to no part or to one, and takes along its segment, recording,
# speaker and all that is known about them.

use strict;
use warnings;
use DataTables qw(%TABLES @PLAIN_FILES each_row kinds_in wav_rewriter write_text);

# $part_of: {utterance => index into @$places}. $home: where the parts are going to lie (for names in wav.scp).
sub write_parts {
    my ($dir, $part_of, $places, $home) = @_;
    my %kinds = kinds_in($dir);
    my $holders = holders($dir, $part_of, $kinds{segments});
    my $rewrite = wav_rewriter($dir, $home);
    for my $name (grep { $_ ne 'spk2utt' } sort keys %kinds) {
        my $kind = $kinds{$name};
        my @text = ('') x @$places;
        each_row($dir, $name, sub {
            my ($id, $rest) = @_;
            my @parts = $kind eq 'utt' ? ($part_of->{$id}) : keys %{$holders->{$kind}{$id} || {}};
            return unless @parts && defined $parts[0];
            $rest = $rewrite->($rest) if $name eq 'wav.scp';
            $text[$_] .= $rest eq '' ? "$id\n" : "$id $rest\n" for @parts;
        });
        write_text("$places->[$_]/$name", $text[$_]) for 0 .. $#$places;
    }
    write_speakers($holders->{utts}, $places);
    copy_plain($dir, @$places);
}

# {spk, rec => {id => {part => 1}}, utts => {speaker => {part => [utterances]}}}
sub holders {
    my ($dir, $part_of, $segments) = @_;
    my %holders;
    each_row($dir, 'utt2spk', sub {
        my ($utt, $spk) = @_;
        my $part = $part_of->{$utt};
        return unless defined $part;
        $holders{spk}{$spk}{$part} = 1;
        push @{$holders{utts}{$spk}{$part}}, $utt;
    });
    return \%holders unless $segments;
    each_row($dir, 'segments', sub {
        my ($utt, $rest) = @_;
        my $part = $part_of->{$utt};
        $holders{rec}{($rest =~ /^([^ \t]+)/)[0]}{$part} = 1 if defined $part;
    });
    return \%holders;
}

sub write_speakers {
    my ($utts, $places) = @_;
    my @text = ('') x @$places;
    for my $spk (sort keys %$utts) {
        $text[$_] .= join(' ', $spk, @{$utts->{$spk}{$_}}) . "\n" for keys %{$utts->{$spk}};
    }
    write_text("$places->[$_]/spk2utt", $text[$_]) for 0 .. $#$places;
}

sub copy_plain {
    my ($dir, @places) = @_;
    for my $name (grep { -e "$dir/$_" } @PLAIN_FILES) {
        open(my $in, '<:raw', "$dir/$name") or DataTables::fail("$dir/$name: cannot be read ($!)");
        my $text = do { local $/; <$in> };
        write_text("$_/$name", $text) for @places;
    }
}

1;
