#!/bin/bash
# watch.sh NAME PORT...
# Asks each port again and again, from outside and while the machine boots too, until it is ended. Prints, for
# every certificate that was shown, a line with tabs between:
#   MILLISECONDS  PORT  SHA256  SUBJECT       (since 1970)
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
name=${1:?usage: watch.sh NAME PORT...}; shift
check_name "$name"
address=$(address_of "$name")
watch_port() {
    local pem
    # Until this script is ended, or the machine is.
    while kill -0 $$ 2>/dev/null && [ -e "/run/netns/$LAB_TAG-$name-x" ]; do
        # Far cheaper than OpenSSL while nothing listens.
        if in_world "$name" timeout 1 bash -c ": </dev/tcp/$address/$1" 2>/dev/null; then
            pem=$(in_world "$name" timeout 5 openssl s_client -connect "$address:$1" \
                ${LAB_PORTS[$1]:+-starttls "${LAB_PORTS[$1]}"} </dev/null 2>/dev/null | openssl x509 2>/dev/null) &&
                printf '%s\t%s\t%s\t%s\n' "$(($(date +%s%N) / 1000000))" "$1" \
                    "$(openssl x509 -noout -fingerprint -sha256 <<<"$pem" | cut -d= -f2-)" \
                    "$(openssl x509 -noout -subject -nameopt RFC2253 <<<"$pem" | cut -d= -f2-)"
        fi
        sleep 0.02
    done
}
for port in "$@"; do watch_port "$port" & done
wait
