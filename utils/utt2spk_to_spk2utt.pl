#!/usr/bin/env perl
# Turns utt2spk (utterance speaker) into spk2utt (speaker utterance utterance ...), speakers in the order they come.

use strict;
use warnings;

my $USAGE = "usage: utt2spk_to_spk2utt.pl [utt2spk] > spk2utt    # reads standard input without a file name\n";
if (@ARGV && $ARGV[0] =~ /^--?h(elp)?\z/) {
    print $USAGE;
    exit 0;
}
if (@ARGV > 1) {
    print STDERR $USAGE;
    exit 1;
}
my $name = @ARGV ? $ARGV[0] : 'standard input';
my $in = \*STDIN;
if (@ARGV) {
    open($in, '<', $ARGV[0]) or fail("$ARGV[0]: cannot be read ($!)");
}
my (%utts, @speakers, %line_of);
while (my $line = <$in>) {
    my @columns = split ' ', $line;
    @columns == 2 or fail("$name:$.: " . @columns . ' columns, write: utterance speaker');
    my ($utt, $spk) = @columns;
    fail("$name:$.: utterance '$utt' stands in line $line_of{$utt} already, keep one of them") if exists $line_of{$utt};
    $line_of{$utt} = $.;
    push @speakers, $spk unless exists $utts{$spk};
    push @{$utts{$spk}}, $utt;
}
for my $spk (@speakers) {
    print join(' ', $spk, @{$utts{$spk}}), "\n" or fail("cannot write ($!)");
}
close STDOUT or fail("cannot write ($!)");

sub fail {
    close STDOUT;
    print STDERR "utt2spk_to_spk2utt.pl: $_[0]\n";
    exit 1;
}
