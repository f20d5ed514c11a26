#!/bin/bash
# probe.sh NAME FQDN [PORT...]
# What is served on each port (all known ones that are open, when none is named), seen from outside, as
# one line with tabs between:
#   PORT  MATCH|MISMATCH|NOTLS  SHA256  SERIAL  SUBJECT
# MATCH: the certificate holds for FQDN. Exits 1 unless every port matches.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
name=${1:?usage: probe.sh NAME FQDN [PORT...]} fqdn=${2:?usage: probe.sh NAME FQDN [PORT...]}; shift 2
check_name "$name"
l=$(leader "$name") || die "$name is not running"
address=$(address_of "$name")
if [ $# = 0 ]; then
    mapfile -t open < <(in_machine "$l" ss -ltnH | awk '$4 !~ /^(127\.|\[::1\])/ { sub(".*:", "", $4); print $4 }' | sort -nu)
    set -- "${open[@]}"
fi
rc=0
for port in "$@"; do
    [ -n "${LAB_PORTS[$port]+known}" ] || continue
    pem=$(in_world "$name" timeout 15 openssl s_client -connect "$address:$port" -servername "$fqdn" \
        ${LAB_PORTS[$port]:+-starttls "${LAB_PORTS[$port]}"} </dev/null 2>/dev/null | openssl x509 2>/dev/null) ||
        { printf '%s\tNOTLS\t-\t-\t-\n' "$port"; rc=1; continue; }
    # -checkhost says it in words and exits 0 either way
    if openssl x509 -noout -checkhost "$fqdn" <<<"$pem" | grep -q 'does match'; then match=MATCH; else match=MISMATCH rc=1; fi
    printf '%s\t%s' "$port" "$match"
    for field in "-fingerprint -sha256" -serial "-subject -nameopt RFC2253"; do
        # shellcheck disable=SC2086  # an option and its value
        printf '\t%s' "$(openssl x509 -noout $field <<<"$pem" | cut -d= -f2-)"
    done
    echo
done
exit $rc
