#!/bin/sh
# Runs on a web server, for the tokens of http-01. What is to be done comes on standard input, a line each: a verb,
# a blank, and a path to the end of the line, in which nothing is special. The first failure ends it.
umask 022
fail() { printf '%s: %s\n' "$2" "$1" >&2; exit 1; }
while IFS= read -r line; do
    path=${line#* }
    case $line in
        'need '*) [ -d "$path" ] || fail 'there is no such directory' "$path" ;;
        'look '*) [ -d "$path" ] || printf '%s\n' "$path" ;;
        'make '*) [ -d "$path" ] || mkdir -- "$path" || exit ;;
        'write '*)
            IFS= read -r content || fail 'its content did not arrive' "$path"
            # Anew: one that is there may have another owner, or be a link.
            rm -f -- "$path" || exit
            (set -C; printf '%s' "$content" > "$path") && chmod 0644 -- "$path" || exit ;;
        'remove '*) rm -f -- "$path" || exit ;;
        # What somebody else has put there keeps it.
        'clear '*) rmdir -- "$path" 2> /dev/null || : ;;
        *) fail 'is not understood' "$line" ;;
    esac
done
