#!/bin/bash
# watch.sh NAME PORT...
# Asks each port again and again, from outside and while the machine boots too, until it is ended. Prints, for
# every certificate that was shown, a line with tabs between:
#   MILLISECONDS  PORT  SHA256  SUBJECT       (since 1970)
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

watch_port() {  # watch_port ADDRESS PORT
    local shown pause
    # Until this script is ended, or the machine is.
    while kill -0 $$ 2>/dev/null && [ -e "/run/netns/$LAB_TAG-$name-x" ]; do
        pause=0.02
        # Far cheaper than OpenSSL while nothing listens.
        if (: <"/dev/tcp/$1/$2") 2>/dev/null; then
            shown=$(timeout 5 openssl s_client -connect "$1:$2" ${LAB_PORTS[$2]:+-starttls "${LAB_PORTS[$2]}"} \
                </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256 -subject -nameopt RFC2253 2>/dev/null) &&
                printf '%s\t%s\t%s\t%s\n' "$((${EPOCHREALTIME/[.,]/} / 1000))" "$2" \
                    "$(sed -n 's/.*Fingerprint=//p' <<<"$shown")" "$(sed -n 's/^subject=//p' <<<"$shown")"
            pause=0.3
            # sendmail turns away who comes more often than 15 times a minute.
            [ "$2" != 25 ] || pause=15
        fi
        sleep $pause
    done
}

if [ "${1:-}" = --inside ]; then
    name=$2 address=$3; shift 3
    for port in "$@"; do watch_port "$address" "$port" & done
    wait
    exit
fi
name=${1:?usage: watch.sh NAME PORT...}; shift
check_name "$name"
exec nsenter --net="/run/netns/$LAB_TAG-$name-x" "$0" --inside "$name" "$(address_of "$name")" "$@"
