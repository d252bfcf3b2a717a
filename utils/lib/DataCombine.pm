package DataCombine;

# Joins data directories. An id that two of them have must mean the same in both.

use strict;
use warnings;
use DataRepair;
use DataTables qw(%TABLES @PLAIN_FILES $program fail first_five each_row kinds_in require_data_dir same_place
    stage_in install carried_over wav_rewriter write_rows write_text);

sub main {
    my ($to, $extra, $skip_fix, @from) = @_;
    $program = 'combine_data.sh';
    require_data_dir(@from);
    for my $dir (@from) {
        fail("$to: the destination is one of the sources") if same_place($dir, $to);
    }
    my @extra = split ' ', $extra;
    check_extra(\@extra, @from);
    my $stage = stage_in($to);
    my %fill = (segments => \&whole_recordings, utt2uniq => \&own_ids);
    for my $name (sort keys %TABLES) {
        next if $name eq 'spk2utt' || grep { $_ eq $name } @extra;
        my @without = grep { !-e "$_/$name" } @from;
        next if @without == @from;
        if (@without && !$fill{$name}) {
            print "$program: $name is left out, it is missing in: @without\n";
            next;
        }
        write_rows("$stage/$name", merged($name, $to, $fill{$name}, @from));
    }
    write_text("$stage/$_", lines_of($_, @from)) for @extra;
    merge_plain($stage, @from);
    write_spk2utt($stage, @from);
    DataRepair::repair($stage, shown => $to) unless $skip_fix;
    my @present = grep { -e "$stage/$_" } @extra;
    install($stage, $to);
    print "$program: combined @from into $to\n";
    carried_over($_, @present) for @from;
}

sub check_extra {
    my ($extra, @from) = @_;
    for my $name (@$extra) {
        fail("--extra-files: '$name' is a table of every data directory, it is combined anyway") if $TABLES{$name};
        -f "$_/$name" or fail("$_/$name: no such file, --extra-files needs it in every source") for @from;
    }
}

# ------------------------------------------------------------------------------------------------ tables

# {id => rest} over all sources; ends where two sources say different things of one id.
sub merged {
    my ($name, $to, $fill, @from) = @_;
    my (%rows, %source, %conflicts);
    for my $dir (@from) {
        my $rewrite = wav_rewriter($dir, $to);
        my $add = sub {
            my ($id, $rest) = @_;
            $rest = $rewrite->($rest) if $name eq 'wav.scp';
            if (!exists $rows{$id}) {
                ($rows{$id}, $source{$id}) = ($rest, $dir);
            } elsif ($rows{$id} ne $rest) {
                push @{$conflicts{$source{$id}}{$dir}}, $id;
            }
        };
        -e "$dir/$name" ? each_row($dir, $name, $add, loose => 1, counts => {}) : $fill->($dir, $add);
    }
    report_conflict($name, \%conflicts) if %conflicts;
    return \%rows;
}

sub report_conflict {
    my ($name, $conflicts) = @_;
    my ($one) = sort keys %$conflicts;
    my ($two) = sort keys %{$conflicts->{$one}};
    my @ids = sort @{$conflicts->{$one}{$two}};
    my $where = $one eq $two ? 'stand there twice and differ' : "differ from those in $one/$name";
    my $remedy = $one eq $two ? 'delete the wrong ones'
        : {kinds_in($two)}->{$name} eq 'rec' ? "rename the recordings in $two/wav.scp and $two/segments"
        : "rename one corpus: utils/copy_data_dir.sh --utt-prefix <text> --spk-prefix <text> $two <dir>";
    fail("$two/$name: the lines of " . @ids . ' ids ' . $where . ': ' . first_five(@ids) . ", $remedy");
}

# For a source without segments: each recording is one utterance, as long as utt2dur says.
sub whole_recordings {
    my ($dir, $add) = @_;
    -e "$dir/utt2dur" or fail("$dir/utt2dur: no such file, needed to make segments as another source has them");
    each_row($dir, 'utt2dur', sub { $add->($_[0], "$_[0] 0 $_[1]") }, loose => 1, counts => {});
}

sub own_ids {
    my ($dir, $add) = @_;
    each_row($dir, 'utt2spk', sub { $add->($_[0], $_[0]) }, loose => 1, counts => {});
}

sub write_spk2utt {
    my ($stage, @from) = @_;
    my (%utts, %sources);
    each_row($stage, 'utt2spk', sub { push @{$utts{$_[1]}}, $_[0] });
    write_rows("$stage/spk2utt", {map { $_ => join(' ', @{$utts{$_}}) } keys %utts});
    for my $dir (@from) {
        each_row($dir, 'utt2spk', sub { $sources{$_[1]}{$dir} = 1 }, loose => 1, counts => {});
    }
    my @shared = grep { keys %{$sources{$_}} > 1 } sort keys %sources;
    return unless @shared;
    print "$program: speakers of more than one source, taken as the same: ", scalar(@shared), ': ',
        first_five(@shared), "\n";
}

# ------------------------------------------------------------------------------------------------ other files

# The lines of a file of any form, each once, in the order of their first column.
sub lines_of {
    my ($name, @from) = @_;
    my (%seen, @lines);
    for my $dir (@from) {
        open(my $in, '<:raw', "$dir/$name") or fail("$dir/$name: cannot be read ($!)");
        while (my $line = <$in>) {
            chomp $line;
            next if $seen{$line}++;
            my ($id) = split ' ', $line, 2;
            push @lines, [defined $id ? $id : '', "$line\n"];
        }
    }
    return map { $_->[1] } sort { $a->[0] cmp $b->[0] } @lines;
}

sub merge_plain {
    my ($stage, @from) = @_;
    for my $name (@PLAIN_FILES) {
        my @have = grep { -e "$_/$name" } @from or next;
        my %texts;
        for my $dir (@have) {
            open(my $in, '<:raw', "$dir/$name") or fail("$dir/$name: cannot be read ($!)");
            $texts{do { local $/; <$in> }} = $dir;
        }
        fail("$name differs between the sources: " . join(' ', sort values %texts)) if keys %texts > 1;
        write_text("$stage/$name", keys %texts);
    }
}

1;
