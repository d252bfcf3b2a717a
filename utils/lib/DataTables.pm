package DataTables;

# The tables of a Kaldi data directory: what a line of each holds, reading with errors of one line, writing whole.
# Core Perl only. All text is bytes, so that `lt` is the order of LC_ALL=C.

use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename qw(dirname);
use File::Path qw(make_path remove_tree);
use File::Spec;

our @EXPORT_OK = qw(%TABLES @PLAIN_FILES $program fail problem first_five each_row read_ids tables_in kinds_in
    positions_only_in open_rows write_rows write_text stage_in drop_stage install require_data_dir same_place
    carried_over wav_rewriter);

our $program = 'utils';

my $NUMBER = qr/^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\z/;

# kind: whose id stands first. columns: how many there are, id included (0: two or more, -1: any). check: returns what
# is wrong with the rest of a line, or ''.
# A free table holds file names or words after the id, where other white space than blank and tab is allowed.
our %TABLES = (
    'utt2spk'              => {kind => 'utt', columns => 2},
    'spk2utt'              => {kind => 'spk', columns => 0},
    'wav.scp'              => {kind => 'rec', columns => 0, free => 1, check => \&wav_complaint},
    'segments'             => {kind => 'utt', columns => 4, check => \&segment_complaint},
    'feats.scp'            => {kind => 'utt', columns => 0, free => 1},
    'vad.scp'              => {kind => 'utt', columns => 0, free => 1},
    'cmvn.scp'             => {kind => 'spk', columns => 0, free => 1},
    'text'                 => {kind => 'utt', columns => -1},
    'utt2dur'              => {kind => 'utt', columns => 2, check => \&duration_complaint},
    'utt2num_frames'       => {kind => 'utt', columns => 2, check => \&frames_complaint},
    'utt2lang'             => {kind => 'utt', columns => 2},
    'utt2uniq'             => {kind => 'utt', columns => 2},
    'utt2warp'             => {kind => 'utt', columns => 2, check => \&number_complaint},
    'reco2dur'             => {kind => 'rec', columns => 2, check => \&duration_complaint},
    'reco2file_and_channel' => {kind => 'rec', columns => 3},
    'spk2gender'           => {kind => 'spk', columns => 2, check => \&gender_complaint},
    'spk2warp'             => {kind => 'spk', columns => 2, check => \&number_complaint},
);
our @PLAIN_FILES = ('frame_shift');    # of the whole directory, not a table

sub wav_complaint {
    return index($_[0], '~') >= 0 ? "'~' is not expanded by the readers, write the full path" : '';
}

sub segment_complaint {
    my (undef, $start, $end) = split ' ', $_[0];
    return "start '$start' and end '$end' must be seconds" unless $start =~ $NUMBER && $end =~ $NUMBER;
    return "start $start is before the recording, it must be 0 or more" if $start < 0;
    return $end > $start ? '' : "end $end must be later than start $start";
}

sub duration_complaint {
    return $_[0] =~ $NUMBER && $_[0] > 0 ? '' : "duration '$_[0]' must be a number of seconds above 0";
}

sub frames_complaint {
    return $_[0] =~ /^\d+\z/ && $_[0] > 0 ? '' : "number of frames '$_[0]' must be a whole number above 0";
}

sub gender_complaint {
    return $_[0] =~ /^[mf]\z/ ? '' : "gender '$_[0]' must be m or f";
}

sub number_complaint {
    return $_[0] =~ $NUMBER ? '' : "'$_[0]' must be a number";
}

# ------------------------------------------------------------------------------------------------ messages

sub fail {
    print STDERR "$program: $_[0]\n";
    exit 1;
}

sub problem {
    my ($path, $line, $what, $remedy) = @_;
    fail("$path:$line: $what" . (defined $remedy ? ", $remedy" : ''));
}

sub first_five {
    return @_ > 5 ? join(' ', @_[0 .. 4], '...') : join(' ', @_);
}

# ------------------------------------------------------------------------------------------------ reading

# Calls $row->($id, $rest, $line_number) for each line of a table. Refuses what Kaldi's readers would stumble over;
# with `loose`, only what cannot be repaired by sorting and cleaning.
# Options: shown (name of the directory in messages), loose, counts (hash of what was cleaned), any_text, on_value
# (called with id and complaint instead of ending on an impossible value).
sub each_row {
    my ($dir, $name, $row, %option) = @_;
    $option{shown} = $dir unless defined $option{shown};
    my $path = "$option{shown}/$name";
    my $table = $TABLES{$name} || {kind => 'any', columns => -1, free => 1};
    my ($loose, $columns, $check) = ($option{loose}, $table->{columns}, $table->{check});
    open(my $in, '<:raw', "$dir/$name") or fail("$path: cannot be read ($!)");
    my ($number, $previous) = (0, '');
    while (my $line = <$in>) {
        $number++;
        if ($line =~ /[^\x20-\x7e\t\n]/ || substr($line, -1) ne "\n") {
            $line = odd_line($path, $number, $line, $table, %option);
        } else {
            chop $line;
        }
        my ($id, $rest) = split /[ \t]+/, $line, 2;
        next if (!defined $id || $id eq '') && skip_blank($path, $number, $line, %option);
        $rest = '' unless defined $rest;
        $rest =~ s/[ \t]+\z// if $rest ne '' && substr($rest, -1) le ' ';
        check_columns($path, $number, $id, $rest, $columns) if $columns > 0 || $columns == 0 && $rest eq '';
        out_of_order($path, $number, $id, $previous, $rest, $option{shown}) if $id le $previous && !$loose;
        $previous = $id;
        if ($check && (my $complaint = $check->($rest))) {
            problem($path, $number, "'$id': $complaint") unless $option{on_value};
            $option{on_value}->($id, $complaint);
            next;
        }
        $row->($id, $rest, $number);
    }
    close $in or fail("$path: cannot be read ($!)");
}

# A line that begins with white space: true where it is blank and may be passed over.
sub skip_blank {
    my ($path, $number, $line, %option) = @_;
    problem($path, $number, 'the line begins with white space', 'take that out') if $line =~ /[^ \t]/;
    problem($path, $number, 'empty line', 'take it out') unless $option{loose};
    return ++$option{counts}{'empty lines'};
}

sub out_of_order {
    my ($path, $number, $id, $previous, $rest, $shown) = @_;
    my $blank = $path =~ /wav\.scp\z/ && $rest =~ /[ \t]/ && $rest !~ /\|\z/ ? ' (does the id hold white space?)' : '';
    problem($path, $number, "'$id' stands here twice$blank", 'keep one line for each id') if $id eq $previous;
    problem($path, $number, "'$id' after '$previous' is out of order$blank",
        "sort with LC_ALL=C or run utils/fix_data_dir.sh $shown");
}

sub check_columns {
    my ($path, $number, $id, $rest, $columns) = @_;
    my $found = 1 + (my @values = split /[ \t]+/, $rest);
    return if $found == $columns;
    problem($path, $number, "'$id' stands alone", 'its value is missing') if $found == 1;
    problem($path, $number, "$found columns instead of $columns", 'no id or value may hold white space');
}

# A line with bytes beyond printable ASCII, or without its newline: returns it cleaned, or ends with the reason.
sub odd_line {
    my ($path, $number, $line, $table, %option) = @_;
    my ($loose, $counts) = @option{qw(loose counts)};
    if ($line =~ s/\r+(?=\n?\z)//) {
        problem($path, $number, 'DOS line end (CRLF)', "convert the file with: sed -i 's/\\r\$//' $path") unless $loose;
        $counts->{'DOS line ends'}++;
    }
    if ($line !~ s/\n\z//) {
        problem($path, $number, 'the last line has no newline', "add it with: echo >> $path") unless $loose;
        $counts->{'missing newline'}++;
    }
    return $line if $option{any_text};
    my $text = $line;
    utf8::decode($text) or problem($path, $number, 'not UTF-8', 'convert the file, for example with iconv -t UTF-8');
    problem($path, $number, 'byte order mark', 'save the file as UTF-8 without it') if $text =~ /^\x{feff}/;
    if ($text =~ /([^\P{Cntrl}\t])/) {
        problem($path, $number, sprintf('control character 0x%02x', ord $1), 'delete it');
    }
    my $strict_part = $table->{free} ? (split /[ \t]+/, $text, 2)[0] : $text;
    if (defined $strict_part && $strict_part =~ /([^\S \t])/) {
        problem($path, $number, sprintf('white space character U+%04X', ord $1), 'write a blank or take it out');
    }
    return $line;
}

# The ids of a table in file order, the line of $ids[$i] being $i + 1.
sub read_ids {
    my ($dir, $name, %option) = @_;
    my @ids;
    each_row($dir, $name, sub { push @ids, $_[0] }, %option);
    return \@ids;
}

# Positions of the sorted ids @$here that the sorted ids @$there lack.
sub positions_only_in {
    my ($here, $there) = @_;
    my ($at, @positions) = (0);
    for my $index (0 .. $#$here) {
        $at++ while $at < @$there && $there->[$at] lt $here->[$index];
        push @positions, $index unless $at < @$there && $there->[$at] eq $here->[$index];
    }
    return @positions;
}

# Tables of a directory, in a fixed order.
sub tables_in {
    my ($dir) = @_;
    return grep { -e "$dir/$_" } sort keys %TABLES;
}

# The kind of each table here: without segments, a recording is an utterance.
sub kinds_in {
    my ($dir) = @_;
    my $recordings = -e "$dir/segments" ? 'rec' : 'utt';
    return map { $_ => $TABLES{$_}{kind} eq 'rec' ? $recordings : $TABLES{$_}{kind} } tables_in($dir);
}

sub require_data_dir {
    for my $dir (@_) {
        -d $dir or fail("$dir: no such directory");
        -e "$dir/utt2spk" or fail("$dir/utt2spk: no such file, a data directory needs it"
            . (-e "$dir/spk2utt" ? " (utils/spk2utt_to_utt2spk.pl $dir/spk2utt > $dir/utt2spk)" : ''));
        -s "$dir/utt2spk" or fail("$dir/utt2spk: the file is empty, there is no utterance to work on");
    }
}

# ------------------------------------------------------------------------------------------------ writing

my @staged;    # directories to remove when we end early

END {
    my $status = $?;
    remove_tree(@staged) if @staged;
    $? = $status;
}

$SIG{XFSZ} = 'IGNORE';    # a file over the size limit is then a failed write, which is reported

for my $signal (qw(INT TERM HUP)) {
    $SIG{$signal} = sub {
        remove_tree(@staged) if @staged;
        @staged = ();
        $SIG{$signal} = 'DEFAULT';
        kill $signal, $$;
    };
}

# A new directory inside $parent for what is being made; it goes away when the script ends.
sub stage_in {
    my ($parent, $name) = @_;
    my $path = "$parent/" . (defined $name ? $name : ".new.$$");
    my @made = -e $parent ? () : $parent;
    make_path($parent, {error => \my $errors});
    push @staged, @made if -d $parent;
    remove_tree($path) if -e $path;
    mkdir $path or fail("$parent: cannot be written to ($!)");
    push @staged, $path;
    return $path;
}

sub drop_stage {
    my ($path) = @_;
    remove_tree($path);
    @staged = grep { $_ ne $path } @staged;
}

# Moves the files of a staged data directory into place, and takes away the tables that the new directory has not.
sub install {
    my ($stage, $dir) = @_;
    @staged = grep { $_ ne $dir } @staged;
    opendir(my $in, $stage) or fail("$stage: cannot be read ($!)");
    my %new = map { $_ => 1 } grep { -f "$stage/$_" } readdir $in;
    for my $name (grep { !$new{$_} } keys %TABLES, @PLAIN_FILES) {
        !-e "$dir/$name" || unlink "$dir/$name" or fail("$dir/$name: cannot be replaced ($!)");
    }
    for my $name ((grep { $_ ne 'utt2spk' } sort keys %new), $new{'utt2spk'} ? 'utt2spk' : ()) {
        rename "$stage/$name", "$dir/$name" or fail("$dir/$name: cannot be written ($!)");
    }
    drop_stage($stage);
}

# Opens a file and calls $body with the function that writes to it.
sub write_file {
    my ($path, $body) = @_;
    open(my $out, '>:raw', $path) or fail("$path: cannot be written ($!)");
    my $give_up = sub {
        my $reason = $!;
        close $out;    # perl itself would complain of it later
        fail("$path: cannot be written ($reason)");
    };
    $body->(sub { print $out @_ or $give_up->() });
    close $out or $give_up->();
}

sub write_text {
    my ($path, @parts) = @_;
    write_file($path, sub { $_[0]->(@parts) });
}

# Opens a table and calls $body with the function that writes one row.
sub open_rows {
    my ($path, $body) = @_;
    write_file($path, sub {
        my ($write) = @_;
        $body->(sub { $write->($_[1] eq '' ? "$_[0]\n" : "$_[0] $_[1]\n") });
    });
}

# Writes a table from {id => rest}, sorted.
sub write_rows {
    my ($path, $rows) = @_;
    open_rows($path, sub {
        my ($write) = @_;
        $write->($_, $rows->{$_}) for sort keys %$rows;
    });
}

# ------------------------------------------------------------------------------------------------ places

sub same_place {
    my ($one, $two) = map { abs_path($_) } @_;
    return defined $one && defined $two && $one eq $two;
}

sub parent_of {
    my ($dir) = @_;
    my $full = File::Spec->rel2abs(File::Spec->canonpath($dir));
    return dirname($full =~ /\.\.\z/ ? abs_path($full) : $full);
}

# A function for the entries of wav.scp, for a table that moves from $from to $to. Names relative to the parent of the
# data directory are made absolute (the first relative name tells which rule holds); Kaldi's, relative to the working
# directory, stay as they are, and so do commands.
sub wav_rewriter {
    my ($from, $to) = @_;
    my $parent = parent_of($from);
    my $rewrites = parent_of($to) eq $parent ? 0 : undef;
    return sub {
        my ($entry) = @_;
        return $entry if $entry =~ /^\/|\|\s*\z|^-\z/;
        if (!defined $rewrites) {
            (my $file = $entry) =~ s/:\d+\z//;
            $rewrites = !-e $entry && !-e $file && (-e "$parent/$entry" || -e "$parent/$file");
            print "$program: $from/wav.scp: names are relative to $parent, written as absolute ones\n" if $rewrites;
        }
        return $rewrites ? "$parent/$entry" : $entry;
    };
}

# Says which files of a data directory do not go along: lists of trials, notes and the like.
sub carried_over {
    my ($from, @also) = @_;
    my %known = map { $_ => 1 } keys %TABLES, @PLAIN_FILES, @also;
    opendir(my $in, $from) or fail("$from: cannot be read ($!)");
    my @left = sort grep { !/^\./ && -f "$from/$_" && !$known{$_} } readdir $in;
    print "$program: $from: not carried over: @left\n" if @left;
}

1;
