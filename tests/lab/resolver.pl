#!/usr/bin/perl
# resolver.pl ADDRESS FQDN HOST: a name server at ADDRESS that knows one machine: its short name is an alias of
# FQDN, and that is at HOST. Runs in the network that sees the machine; ends with whoever has started it.
use strict;
use warnings;
use IO::Socket::INET;

my ($address, $fqdn, $host) = @ARGV;
my $parent = getppid;
my $wire = sub { join('', map { chr(length) . $_ } split /\./, shift) . "\0" };
my $server = IO::Socket::INET->new(LocalAddr => $address, LocalPort => 53, Proto => 'udp') or die "$address: $@\n";
$| = 1;
print "ready\n";
while (getppid == $parent) {
    my $ready = '';
    vec($ready, $server->fileno, 1) = 1;
    next unless select $ready, undef, undef, 0.5;
    $server->recv(my $query, 512) // next;
    next if length $query < 17;
    my ($name, $at) = ('', 12);
    while (my $length = ord substr $query, $at, 1) {
        $name .= substr($query, $at + 1, $length) . '.';
        $at += $length + 1;
    }
    chop $name;
    my $type = unpack 'n', substr $query, $at + 1, 2;
    my $question = substr $query, 12, $at + 5 - 12;
    my ($answers, $known) = ('', lc $name eq lc $fqdn);
    my ($short) = split /\./, $fqdn;
    my $count = 0;
    # RFC 1035, 4.1.3: name, type, class, time to live, length, data.
    if (lc $name eq lc $short) {
        $answers .= "\xc0\x0c" . pack('nnNn/a*', 5, 1, 1, $wire->($fqdn));
        ($known, $count) = (1, 1);
    }
    if ($known && $type == 1) {
        $answers .= $wire->($fqdn) . pack('nnNn/a*', 1, 1, 1, pack 'C4', split /\./, $host);
        $count++;
    }
    my $flags = $known ? 0x8180 : 0x8183;
    $server->send(substr($query, 0, 2) . pack('n5', $flags, 1, $count, 0, 0) . $question . $answers);
}
