#!/usr/bin/env perl
# Turns spk2utt (speaker utterance utterance ...) into utt2spk (utterance speaker), in the order of the input.

use strict;
use warnings;

my $USAGE = "usage: spk2utt_to_utt2spk.pl [spk2utt] > utt2spk    # reads standard input without a file name\n";
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
my %line_of;
while (my $line = <$in>) {
    my ($spk, @utts) = split ' ', $line;
    my $whose = defined $spk ? "speaker '$spk' has no utterance" : 'empty line';
    @utts or fail("$name:$.: $whose, take the line out");
    for my $utt (@utts) {
        fail("$name:$.: utterance '$utt' stands in line $line_of{$utt} already, keep one of them") if $line_of{$utt};
        $line_of{$utt} = $.;
        print "$utt $spk\n" or fail("cannot write ($!)");
    }
}
close STDOUT or fail("cannot write ($!)");

sub fail {
    close STDOUT;
    print STDERR "spk2utt_to_utt2spk.pl: $_[0]\n";
    exit 1;
}
