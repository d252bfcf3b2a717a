package DataCopy;

# Copies a data directory, with another beginning or end of its utterance and speaker ids.

use strict;
use warnings;
use DataCheck;
use DataSelect;
use DataTables qw(%TABLES $program fail first_five each_row kinds_in require_data_dir same_place stage_in install
    carried_over wav_rewriter write_rows);

# %affix: utt_prefix, utt_suffix, spk_prefix, spk_suffix. @flags: those of DataCheck::validate.
sub main {
    my ($from, $to, $affix, @flags) = @_;
    $program = 'copy_data_dir.sh';
    require_data_dir($from);
    fail("$to: source and destination are the same directory") if same_place($from, $to);
    for my $name (sort keys %$affix) {
        fail("--" . $name =~ tr/_/-/r . " '$affix->{$name}': an id holds no white space") if $affix->{$name} =~ /\s/;
    }
    my %rename = (
        utt => sub { "$affix->{utt_prefix}$_[0]$affix->{utt_suffix}" },
        spk => sub { "$affix->{spk_prefix}$_[0]$affix->{spk_suffix}" },
        rec => sub { $_[0] },
    );
    my $stage = stage_in($to);
    write_renamed($from, $stage, $to, \%rename, $affix->{utt_prefix} . $affix->{utt_suffix} ne '');
    DataSelect::copy_plain($from, $stage);
    my %file = (no_feats => 'feats.scp', no_text => 'text', no_wav => 'wav.scp');
    my @missing = grep { !-e "$from/$file{$_}" } keys %file;
    DataCheck::validate($stage, shown => $to, map { $_ => 1 } @missing, @flags);
    install($stage, $to);
    print "$program: copied data from $from to $to\n";
    carried_over($from);
}

sub write_renamed {
    my ($from, $stage, $to, $rename, $keeps_origin) = @_;
    my %kinds = kinds_in($from);
    my $rewrite = wav_rewriter($from, $to);
    my %utts;
    for my $name (grep { $_ ne 'spk2utt' } sort keys %kinds) {
        my (%rows, %origin);
        each_row($from, $name, sub {
            my ($id, $rest) = @_;
            if ($name eq 'utt2spk') {
                $rest = $rename->{spk}->($rest);
                push @{$utts{$rest}}, $rename->{utt}->($id);
                $origin{$rename->{utt}->($id)} = $id;
            }
            $rest = $rewrite->($rest) if $name eq 'wav.scp';
            $rows{$rename->{$kinds{$name}}->($id)} = $rest;
        });
        write_rows("$stage/$name", \%rows);
        write_rows("$stage/utt2uniq", \%origin) if %origin && $keeps_origin && !$kinds{utt2uniq};
    }
    write_rows("$stage/spk2utt", {map { $_ => join(' ', sort @{$utts{$_}}) } keys %utts});
}

1;
