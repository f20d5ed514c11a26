#!/bin/sh
# Puts copies of certificates where the servers of this host read them, or leaves everything as it was:
#
#     sh place.sh PREFIX PRODUCTION KIB <ARCHIVE
#
# PREFIX is the directory of a jail, or empty; PRODUCTION the tree in it; KIB the room that is needed. The archive
# (tar) is unpacked into a directory that is nobody else's, flushed, and each directory in it exchanged with the
# one that is read, in one step: who opens key and certificate by their paths finds the old pair or the new one.
# Lines of "manifest" in the archive:
#
#     pair GROUP/SERVICE LINK OWNER MODE   a directory with a key; "-" keeps owner and mode of what is there
#     gone GROUP/SERVICE LINK              none any more
#     file GROUP/PATH                      a file beside the services
set -u
umask 077
LC_ALL=C
export LC_ALL
prefix=$1 production=$2 needed=$3
# Both are opened, or made, inside the tree, because it may be a file system of its own.
stage=.reseed.new
lock=

fail() {
    echo "$*" >&2
    exit 1
}

flush() { sync -f . 2>/dev/null || sync; }

finish() {
    rm -rf -- "$stage"
    [ -z "$lock" ] || rm -f -- "$lock"
}

# ---- the tree ------------------------------------------------------------------------------------------------

# Who rules the jail may not lead us out of it.
no_link() {
    [ -z "$prefix" ] || [ ! -L "$1" ] || fail "$1 in $prefix is a link; put a directory in its place"
}

# Makes a directory where it is missing: its mode, and its path.
directory() {
    no_link "$2"
    [ -d "$2" ] || mkdir -m "$1" -- "$2" || fail "$2 cannot be made"
}

enter() {
    if [ -z "$prefix" ]; then
        (umask 022 && mkdir -p -- "$production") || fail "$production cannot be made"
        cd -- "$production" || fail "$production cannot be entered"
        return
    fi
    cd -- "$prefix" 2>/dev/null || fail "there is no jail $prefix"
    set -f
    old_ifs=$IFS
    IFS=/
    for part in $production; do
        [ -n "$part" ] || continue
        directory 0755 "$part"
        cd -P -- "$part" || fail "$production in $prefix cannot be entered"
    done
    IFS=$old_ifs
    set +f
}

# ---- alone ---------------------------------------------------------------------------------------------------

alone() {
    tries=0
    if command -v flock >/dev/null; then
        exec 9<.
        until flock -n 9; do again; done
        return
    fi
    # A link is made with its content in one step. Nobody works for ten minutes: he is killed after two.
    until ln -s "$$" .reseed.lock 2>/dev/null; do
        holder=$(readlink .reseed.lock) || continue
        if kill -0 "$holder" 2>/dev/null && [ -z "$(find .reseed.lock -prune -mmin +10)" ]; then
            again
        elif mv -- .reseed.lock ".reseed.lock.$$" && [ "$(readlink ".reseed.lock.$$")" != "$holder" ]; then
            # Somebody else was faster, and it is his.
            mv -- ".reseed.lock.$$" .reseed.lock
        fi
    done
    lock=.reseed.lock
    rm -f -- .reseed.lock.*
}

again() {
    tries=$((tries + 1))
    [ "$tries" -le 60 ] || fail "another manager has been at work in $here for a minute"
    sleep 1
}

# ---- exchanging ----------------------------------------------------------------------------------------------

exchange() {
    case $helper in
    mv) mv --exchange -T -- "$1" "$2" ;;
    perl)
        # The number belongs to what perl was built for, which need not be what the kernel is.
        perl -MConfig -e '
            my %numbers = (x86_64 => 316, aarch64 => 276, riscv64 => 276, loongarch64 => 276, powerpc64le => 357,
                           ppc64le => 357, s390x => 347, i386 => 353, arm => 382);
            my ($machine) = $Config{archname} =~ /^([^-]+)/;
            $machine =~ s/^i.86$/i386/;
            $machine =~ s/^arm.*/arm/;
            my $number = $numbers{$machine} or die "renameat2 of $machine is not known\n";
            my ($one, $other) = @ARGV;
            syscall($number, -100, $one, -100, $other, 2) == 0 or die "renameat2: $!\n";
        ' -- "$1" "$2"
        ;;
    python3)
        python3 -I -S -c '
import ctypes, os, platform, sys
numbers = {"x86_64": 316, "aarch64": 276, "riscv64": 276, "loongarch64": 276, "ppc64le": 357, "s390x": 347}
libc = ctypes.CDLL(None, use_errno=True)
one, other = map(os.fsencode, sys.argv[1:])
if hasattr(libc, "renameat2"):
    failed = libc.renameat2(-100, one, -100, other, 2)
else:
    failed = libc.syscall(numbers[platform.machine()], -100, one, -100, other, 2)
if failed:
    sys.exit("renameat2: " + os.strerror(ctypes.get_errno()))
' "$1" "$2"
        ;;
    esac
}

# The file system has to be able to do it, too, so it is tried.
choose() {
    mkdir -- "$stage/one" "$stage/one/first" "$stage/other" || fail "$here is full"
    for helper in mv perl python3; do
        command -v "$helper" >/dev/null || continue
        said=$(exchange "$stage/one" "$stage/other" 2>&1) && [ -d "$stage/other/first" ] && return
    done
    fail "nothing here exchanges two directories in $here (mv of coreutils 9.5, perl, python3): ${said:-none is there}"
}

# ---- owner and mode ------------------------------------------------------------------------------------------

# The number of a name in passwd or group of the jail, because the same name may be somebody else outside.
number() {
    while IFS=: read -r name _ id _; do
        if [ "$name" = "$2" ]; then
            echo "$id"
            return
        fi
    done <"$prefix/etc/$1"
    echo "$2"
}

owner_of() {
    user=${1%%:*}
    group=
    case $1 in *:*) group=${1#*:} ;; esac
    if [ -n "$prefix" ] && [ -f "$prefix/etc/passwd" ] && [ -f "$prefix/etc/group" ]; then
        user=$(number passwd "$user")
        [ -z "$group" ] || group=$(number group "$group")
    fi
    echo "$user${group:+:$group}"
}

listing() { (cd -- "$1" && stat -c '%u:%g %a %n' -- . *); }

is_key() { case $1 in privkey.pem | bundle.pem) true ;; *) false ;; esac }

# Owners, modes and access lists of the last copy, given by somebody; but a key is for its owner and one group.
keep() {
    if command -v getfacl >/dev/null && command -v setfacl >/dev/null; then
        (cd -- "$2" && getfacl -s -n -- *) >"$stage/lists" 2>/dev/null
        [ ! -s "$stage/lists" ] || (cd -- "$1" && setfacl --restore=- 2>/dev/null) <"$stage/lists"
    fi
    listing "$2" >"$stage/attributes" || fail "owners and modes of $2 cannot be read"
    while read -r whose bits name <&4; do
        [ -e "$1/$name" ] || continue
        [ "$whose" = "$me" ] || chown -- "$whose" "$1/$name" || fail "$1/$name: its owner cannot be kept"
        if is_key "$name"; then bits=$(printf '%o' $((0$bits & 0640))); fi
        chmod -- "$bits" "$1/$name" || fail "$1/$name: its mode cannot be kept"
    done 4<"$stage/attributes"
}

# A directory that waits, the one whose place it takes, owner and mode.
prepare() {
    if [ -L "$2" ] || { [ -e "$2" ] && [ ! -d "$2" ]; }; then fail "$here/$2 is no directory; move it away"; fi
    [ ! -d "$2" ] || keep "$1" "$2"
    if [ "$3" != - ]; then
        owner=$(owner_of "$3")
        chown -R -- "$owner" "$1" || fail "$2 cannot be given to $3"
        chown -- "$owner" "${2%/*}" || fail "${2%/*} cannot be given to $3"
    fi
    if [ "$4" != - ]; then
        for key in "$1/privkey.pem" "$1/bundle.pem"; do
            [ ! -e "$key" ] || chmod -- "$4" "$key" || fail "$key cannot have the mode $4"
        done
    fi
}

is_same() {
    [ -d "$2" ] && diff -r -q "$1" "$2" >/dev/null 2>&1 && [ "$(listing "$1")" = "$(listing "$2")" ]
}

is_same_file() {
    if [ -L "$1" ] || [ -L "$2" ]; then
        [ "$(readlink "$1")" = "$(readlink "$2")" ]
    else
        cmp -s "$1" "$2"
    fi
}

planned() { echo "$@" >>"$stage/plan" || fail "$here is full"; }

# ---- the story -----------------------------------------------------------------------------------------------

command -v tar >/dev/null || fail "there is no tar"
enter
here=$(pwd -P)
alone
trap finish EXIT
trap 'exit 1' HUP INT PIPE TERM
if [ -e "$stage" ]; then
    # In it may be what was read before an exchange that a power cut could still undo.
    flush
    rm -rf -- "$stage" || fail "$here/$stage cannot be taken away"
fi
free=$(df -P -k . | { read -r _ && read -r _ _ _ free _ && echo "$free"; })
case $free in
'' | *[!0-9]*) ;;
*) [ "$free" -ge "$needed" ] || fail "no room in $here: $needed KiB are needed, $free are free" ;;
esac
mkdir -m 0700 -- "$stage" || fail "$here/$stage cannot be made"
tar -x -p -o -m -f - -C "$stage" || fail "what was sent cannot be unpacked in $here"
[ -e "$stage/end" ] || fail "what was sent ends early"
choose
me=$(id -u):$(id -g)

: >"$stage/plan" || fail "$here is full"
while read -r what path link owner mode <&3; do
    directory 0755 "${path%%/*}"
    case $what in
    pair)
        directory 0750 "$path"
        prepare "$stage/data/$path/$link" "$path/$link" "$owner" "$mode"
        is_same "$stage/data/$path/$link" "$path/$link" || planned pair "$path/$link"
        ;;
    gone)
        no_link "$path"
        if [ -d "$path/$link" ] && [ ! -L "$path/$link" ]; then planned gone "$path/$link"; fi
        ;;
    file)
        directory 0755 "${path%/*}"
        [ ! -d "$path" ] || fail "$here/$path is a directory; move it away"
        is_same_file "$stage/data/$path" "$path" || planned file "$path"
        ;;
    *) fail "\"$what\" is not known here" ;;
    esac
done 3<"$stage/manifest"
planned end

flush
while read -r what path <&3; do
    case $what in
    pair)
        if [ -d "$path" ]; then
            exchange "$stage/data/$path" "$path" || fail "$here/$path cannot be exchanged"
        else
            mv -T -- "$stage/data/$path" "$path" || fail "$here/$path cannot be put in its place"
        fi
        ;;
    gone) mv -- "$path" "$stage/data/${path%/*}/.gone" || fail "$here/$path cannot be taken away" ;;
    file) mv -f -- "$stage/data/$path" "$path" || fail "$here/$path cannot be put in its place" ;;
    end) whole=yes ;;
    esac
done 3<"$stage/plan"
[ -n "${whole:-}" ] || fail "$here is full"
flush
echo "in place"
