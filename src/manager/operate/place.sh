#!/bin/sh
# Puts files of certificates where services of this host read them, each target as a whole or not at all, and has
# those services read them:
#
#     sh place.sh SECONDS <STREAM
#
# SECONDS is how long a reload command may take. The stream, line by line, with archives (tar) between the lines:
#
#     target NUMBER TAG DUE RELOAD    a target; DUE is 1 when its reload is due whatever is found; RELOAD is 1 or 0
#     base PATH                       the directory of its jail; empty for the host itself
#     first PATH                      its directory, beneath that
#     second PATH                     that of its keys, where it is another
#     file 1|2 MODE USER GROUP NAME   a file in the first or the second
#     link 1|2 NAME                   a symbolic link
#     data 1|2 OCTETS                 an archive of them, which follows
#     place                           the target is complete
#     reload NUMBER TARGETS COMMAND   what is run when one of the targets changed; their numbers, "," between
#     finish                          all is said
#
# Answers are lines that begin with "bring: ". For each target: what is sent is unpacked into directories beside its
# files, with final owners and modes (".reseed-TAG.1" and ".2"), and flushed; one rename (".1" to ".go") decides; then
# everything is moved. Whoever finds ".go" goes on moving, whoever finds none throws away what lies there. ".due"
# stays until the reload command has succeeded.
set -u
mask=$(umask)
umask 077
locale=${LC_ALL-}
LC_ALL=C
export LC_ALL
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin:/usr/local/bin
unset CDPATH
limit=$1
shift
lock=
work=
why=

say() { echo "bring: $*"; }

fail() {
    echo "$*" >&2
    exit 1
}

refuse() {
    why=$*
    return 1
}

flush() { [ $# -eq 0 ] || sync -f -- "$@" 2>/dev/null || sync; }

# ---- alone ---------------------------------------------------------------------------------------------------

# Two managers have different certificates, but what a killed one began may still run here.
alone() {
    tries=0
    for lock in /run /var/run "${HOME:-/tmp}"; do
        if [ -d "$lock" ] && [ -w "$lock" ]; then break; fi
    done
    lock=$lock/.reseed-place.lock
    if command -v flock >/dev/null; then
        exec 9>"$lock" || fail "$lock cannot be made"
        lock=
        # Not every flock can wait.
        flock -n 9 || flock -w 60 9 2>/dev/null || until flock -n 9; do again; done
        return
    fi
    # A link is made with its content in one step. Nobody works for ten minutes: he is killed before.
    until ln -s "$$" "$lock" 2>/dev/null; do
        holder=$(readlink "$lock") || continue
        if kill -0 "$holder" 2>/dev/null && [ -z "$(find "$lock" -prune -mmin +10)" ]; then
            again
        elif mv -- "$lock" "$lock.$$" && [ "$(readlink "$lock.$$")" != "$holder" ]; then
            # Somebody else was faster, and it is his.
            mv -- "$lock.$$" "$lock"
        else
            rm -f -- "$lock.$$"
        fi
    done
}

again() {
    tries=$((tries + 1))
    [ "$tries" -le 60 ] || fail "another manager has been at work here for a minute"
    sleep 1
}

# Whoever is started by a reload command must not hold it.
let_go() {
    exec 9>&-
    [ -z "$lock" ] || rm -f -- "$lock"
    lock=
}

# ---- directories ---------------------------------------------------------------------------------------------

# Goes to a directory of the target, which is made where only itself is missing. Whoever rules the jail may not
# lead us out of it: no part is a link, and where we are is looked at after each step, when it holds.
enter() {
    if [ -z "$base" ]; then
        if [ ! -d "${1:-/}" ]; then
            [ -d "${1%/*}/" ] || refuse "${1%/*} is missing; make it" || return 1
            said=$(mkdir -m 0755 -- "$1" 2>&1) || refuse "$1 cannot be made: $said" || return 1
        fi
        cd -P -- "${1:-/}" 2>/dev/null || refuse "$1 cannot be entered" || return 1
        here=$(pwd -P)
        return
    fi
    cd -P -- "$base" 2>/dev/null || refuse "there is no jail $base" || return 1
    here=$(pwd -P)
    rest=${1#/}
    while [ -n "$rest" ]; do
        part=${rest%%/*}
        case $rest in */*) rest=${rest#*/} ;; *) rest= ;; esac
        if [ ! -e "$part" ] && [ ! -L "$part" ]; then
            [ -z "$rest" ] || refuse "$here/$part is missing; make it" || return 1
            said=$(mkdir -m 0755 -- "$part" 2>&1) || refuse "$here/$part cannot be made: $said" || return 1
        fi
        inside "$part" || return 1
    done
}

# Goes to a directory in the one where we are.
inside() {
    [ ! -L "$1" ] || refuse "$here/$1 is a link; put a directory in its place" || return 1
    cd -P -- "$1" 2>/dev/null || refuse "$here/$1 cannot be entered" || return 1
    here=${here%/}/$1
    [ "$(pwd -P)" = "$here" ] || refuse "$here leads elsewhere"
}

# ---- one target ----------------------------------------------------------------------------------------------

forget() { base='' first='' second='' two='' tag='' files='' state=new; }

keep() {
    eval "base_$at=\$base first_$at=\$first second_$at=\$second two_$at=\$two tag_$at=\$tag"
    eval "files_$at=\$files state_$at=\$state due_$at=\$due has_$at=\$has"
}

recall() {
    at=$1
    eval "base=\$base_$at first=\$first_$at second=\$second_$at two=\$two_$at tag=\$tag_$at"
    eval "files=\$files_$at state=\$state_$at due=\$due_$at has=\$has_$at"
}

# The directory of a number.
directory() { if [ "$1" = 1 ]; then enter "$first"; else enter "$second"; fi; }

# Makes the directories in which it is unpacked, after an earlier run's have been dealt with.
begin() {
    if [ -n "$two" ]; then enter "$second" || return 1; fi
    enter "$first" || return 1
    if [ -d ".reseed-$tag.go" ]; then
        forward && flush . && finished || return 1
    fi
    for which in $two 1; do
        directory "$which" || return 1
        rm -rf -- ".reseed-$tag.$which" && said=$(mkdir -- ".reseed-$tag.$which" 2>&1) ||
            refuse "nothing can be written in $here: ${said:-}" || return 1
    done
    state=open
}

# Moves all that is decided. The certificate comes before its key, as their names are sorted: most servers read them
# in this order, too, and such a one finds two that do not belong together only when it reads both between the two
# renames, or one before and one after both. The other way round every overlap would do.
forward() {
    enter "$first" && moved ".reseed-$tag.go" || return 1
    [ -z "$two" ] || { enter "$second" && moved ".reseed-$tag.2"; }
}

moved() {
    [ -d "$1" ] || return 0
    inside "$1" || return 1
    set -- *
    if [ -e "$1" ] || [ -L "$1" ]; then
        said=$(mv -f -- "$@" .. 2>&1) || refuse "not everything in $here could be moved: $said" || return 1
    fi
    cd -P .. || refuse "$here has nothing above it"
}

# Takes the empty directories away.
finished() {
    if [ -n "$two" ]; then
        enter "$second" || return 1
        [ ! -d ".reseed-$tag.2" ] || rmdir -- ".reseed-$tag.2" 2>/dev/null ||
            refuse "$here/.reseed-$tag.2 cannot be taken away" || return 1
    fi
    enter "$first" || return 1
    [ ! -d ".reseed-$tag.go" ] || rmdir -- ".reseed-$tag.go" 2>/dev/null ||
        refuse "$here/.reseed-$tag.go cannot be taken away"
}

# Throws away what lies there, unless it is decided.
discard() {
    enter "$first" && [ ! -d ".reseed-$tag.go" ] || return
    for which in $two 1; do
        directory "$which" && rm -rf -- ".reseed-$tag.$which"
    done
}

# The archive has to be read to its end, whatever becomes of it.
take() { dd ibs=1 obs=65536 count="$1" 2>/dev/null; }

unpack() {
    inside ".reseed-$tag.$1" || { echo "$why" && cat >/dev/null && return 1; }
    tar -x -p -m -f - 2>&1
    code=$?
    cat >/dev/null
    return "$code"
}

# Says whether a file is what it has to be.
is_right() {
    owner="-user $user -group $group"
    # Who cannot give files away keeps them.
    if [ "$me" != 0 ] && [ "$user/$group" = 0/0 ]; then owner=; fi
    # shellcheck disable=SC2086 # these are several words
    [ ! -L "$1" ] && [ -n "$(find "$1" -prune -type f -perm "$mode" $owner 2>/dev/null)" ]
}

is_same() {
    if [ "$mode" = link ]; then
        [ -L "$2" ] && [ "$(readlink "$1")" = "$(readlink "$2")" ]
    else
        is_right "./$2" && cmp -s -- "$1" "$2"
    fi
}

# Looks at what was unpacked, and whether all of it lies there already.
compare() {
    state=same
    for which in $two 1; do
        directory "$which" || return 1
        while read -r number mode user group name; do
            [ "$number" = "$which" ] || continue
            fresh=./.reseed-$tag.$which/$name
            if [ "$mode" = link ]; then
                [ -L "$fresh" ] || refuse "$name was not unpacked in $here" || return 1
            else
                is_right "$fresh" || refuse "$here/$name cannot have the mode $mode and belong to $user:$group" ||
                    return 1
            fi
            if [ -d "$name" ] && [ ! -L "$name" ]; then
                refuse "$here/$name is a directory; move it away"
                return 1
            fi
            is_same "$fresh" "$name" || state=staged
        done <<END
$files
END
    done
}

# All of it is on stable storage, so it is what is wanted from here on.
decide() {
    enter "$first" || return 1
    # Before the first file is another one: whoever dies between this and the reload leaves it to the next.
    [ "$has" = 0 ] || [ -d ".reseed-$tag.due" ] || mkdir -- ".reseed-$tag.due" ||
        refuse "nothing can be written in $here" || return 1
    said=$(mv -- ".reseed-$tag.1" ".reseed-$tag.go" 2>&1) || refuse "$said"
}

broken() {
    # A message of several lines would be several answers.
    say "failed $at $(printf '%s' "$why" | tr '\n' ' ' | tr -d '[:cntrl:]')"
    [ "$state" = going ] || discard
    state=failed
    keep
}

# ---- what lies there -----------------------------------------------------------------------------------------

digest() {
    case $summer in
    sha256sum) sha256sum ;;
    sha256) sha256 -q ;;
    openssl) openssl dgst -sha256 -r ;;
    esac <"$1" 2>/dev/null
}

tell() {
    count=0
    while read -r number mode user group name; do
        count=$((count + 1))
        directory "$number" || return
        if [ "$mode" = link ]; then
            say "lies $at $count $(readlink "$name")"
        elif is_right "./$name"; then
            sum=$(digest "$name")
            say "lies $at $count ${sum%% *}"
        fi
    done <<END
$files
END
    say "$state $at"
}

# ---- reloads -------------------------------------------------------------------------------------------------

limited() {
    if command -v timeout >/dev/null; then
        timeout -k 2 "$limit" sh -c "$1"
        return
    fi
    sh -c "$1" &
    task=$!
    (
        sleep "$limit"
        kill -KILL "$task"
    ) &
    dog=$!
    wait "$task"
    code=$?
    kill "$dog" 2>/dev/null
    return "$code"
}

# Runs a command as somebody at this host would; its last words, and how it ended. Only those words are kept, and
# nobody waits for a daemon that it leaves behind and that keeps its output open.
reload() {
    [ -n "$work" ] || work=$(mktemp -d "${TMPDIR:-/tmp}/reseed.XXXXXX") || return 1
    [ -p "$work/said" ] || mkfifo "$work/said" || return 1
    (
        cd / || exit
        umask "$mask"
        if [ -n "$locale" ]; then LC_ALL=$locale; else unset LC_ALL; fi
        limited "$1"
        printf '\nended %s %s\n' "$$" "$?"
    ) >"$work/said" 2>&1 </dev/null &
    one='' two_lines=''
    status=1
    while IFS= read -r line; do
        case $line in
        "ended $$ "*)
            status=${line##* }
            break
            ;;
        '') ;;
        *)
            one=$two_lines
            two_lines=$line
            ;;
        esac
    done <"$work/said"
    case $status in
    0) return ;;
    124 | 137) why="was still running after $limit s and was killed" ;;
    *) why="failed (exit status: $status)" ;;
    esac
    why=$why$(printf '%.200s; %.200s' "$one" "$two_lines" | sed -e 's/^; //' -e 's/; $//' -e 's/^./: &/' |
        tr -d '[:cntrl:]')
    return 1
}

told() {
    for at in $(echo "$1" | tr , ' '); do
        recall "$at"
        [ "$state" = failed ] || { enter "$first" && [ -d ".reseed-$tag.due" ] && rmdir -- ".reseed-$tag.due"; }
    done
}

# ---- the story -----------------------------------------------------------------------------------------------

finish() {
    case $state in open | staged) discard ;; esac
    for at in $targets; do
        recall "$at"
        [ "$state" != staged ] || discard
    done
    [ -z "$work" ] || rm -rf -- "$work"
    [ -z "$lock" ] || rm -f -- "$lock"
}

for tool in tar dd find cmp readlink mv; do command -v "$tool" >/dev/null || fail "there is no $tool"; done
for summer in sha256sum sha256 openssl none; do ! command -v "$summer" >/dev/null || break; done
[ "$summer" != none ] || fail "nothing here computes SHA-256 (sha256sum, sha256, openssl)"
me=$(id -u)
targets='' reloads='' staged='' whole=''
forget
alone
trap finish EXIT
trap 'exit 1' HUP INT PIPE TERM

while IFS= read -r line; do
    word=${line%% *} said=${line#* }
    case $word in
    target)
        forget
        # shellcheck disable=SC2086 # these are several words
        set -- $said
        at=$1 tag=$2 due=$3 has=$4
        ;;
    base) base=$said ;;
    first) first=$said ;;
    second) second=$said two=2 ;;
    file) files="$files${files:+
}$said" ;;
    link) files="$files${files:+
}${said%% *} link - - ${said#* }" ;;
    data)
        which=${said%% *} octets=${said#* }
        if [ "$state" = new ] && ! begin; then broken; fi
        if [ "$state" = open ] && directory "$which"; then
            said=$(take "$octets" | unpack "$which") || { why="what was sent cannot be unpacked in $here: $said" && broken; }
        else
            take "$octets" >/dev/null
        fi
        ;;
    place)
        if [ "$state" = open ]; then
            compare || broken
            case $state in
            same) discard ;;
            staged) staged="$staged $at" ;;
            esac
        fi
        keep
        targets="$targets $at"
        ;;
    reload)
        number=${said%% *} said=${said#* }
        reloads="$reloads $number"
        eval "of_$number=\${said%% *} command_$number=\${said#* }"
        ;;
    finish)
        whole=yes
        break
        ;;
    *) fail "\"$word\" is not known here" ;;
    esac
done
[ -n "$whole" ] || fail "what was sent ends early"

set --
for at in $staged; do
    recall "$at"
    for which in $two 1; do
        directory "$which" && set -- "$@" "$here"
    done
done
flush "$@"
for at in $staged; do
    recall "$at"
    if decide; then state=going && keep; else broken; fi
done
flush "$@"
for at in $staged; do
    recall "$at"
    [ "$state" = going ] || continue
    if forward; then state=placed && keep; else broken; fi
done
flush "$@"
for at in $staged; do
    recall "$at"
    [ "$state" = placed ] || continue
    finished || broken
done
let_go

for at in $targets; do
    recall "$at"
    [ "$state" = failed ] || tell
done
for number in $reloads; do
    command='' of=''
    eval "command=\$command_$number of=\$of_$number"
    wanted=
    for at in $(echo "$of" | tr , ' '); do
        recall "$at"
        case $state in
        placed) wanted=yes ;;
        same) [ "$due" = 0 ] && { ! enter "$first" || [ ! -d ".reseed-$tag.due" ]; } || wanted=yes ;;
        esac
    done
    [ -n "$wanted" ] || continue
    if reload "$command"; then
        told "$of"
        say "told $number"
    else
        say "untold $number $why"
    fi
done
cd /
say end
