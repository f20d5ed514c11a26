# shellcheck shell=bash
# What the lab's scripts share; sourced, never run.
#
# The lab boots Debian in systemd-nspawn with its real services, so that tests can ask what is served.
# Its state, private to this checkout:
#   cache/           the bare system as a tar file, downloaded packages
#   roots/VARIANT    built systems, never booted themselves
#   machines/NAME/   root/ (a copy), pids ("PID STARTTIME"), console.log; with a disk of its own also
#                    disk.img, mounted on root/ while the machine is looked at, and usr/, bound into it
set -euo pipefail
LAB_HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LAB_DIR=$(realpath -m "${RESEED_LAB_DIR:-${CARGO_TARGET_DIR:-$LAB_HERE/../../target}/lab}")
# Everything the kernel knows a machine by starts with this: two checkouts never meet.
LAB_TAG=reseed-$(sha256sum <<<"$LAB_DIR" | cut -c1-8)
# The programs under test come from this host, so the machines are of its release.
LAB_SUITE=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
# The name that a machine carries while it is built.
LAB_BUILD_FQDN=${LAB_BUILD_FQDN:-localhost.localdomain}

die() { echo "lab: $*" >&2; exit 1; }
check_name() { [[ $1 =~ ^[a-z][a-z0-9-]{0,30}$ ]] || die "bad name '$1' (a-z, 0-9, -)"; }
machine_dir() { echo "$LAB_DIR/machines/$1"; }

# Prints why no machine can run on this host; nothing when one can.
lab_missing() {
    local tool d
    [ "$(id -u)" = 0 ] || { echo "not root"; return; }
    [ "$(. /etc/os-release && echo "$ID")" = debian ] || { echo "this host is not Debian"; return; }
    for tool in systemd-nspawn:systemd-container debootstrap:debootstrap ip:iproute2 nsenter:util-linux openssl:openssl \
        mkfs.ext4:e2fsprogs losetup:mount perl:perl-base; do
        command -v "${tool%:*}" >/dev/null || { echo "${tool%:*} not found (package ${tool#*:})"; return; }
    done
    ip netns add "$LAB_TAG-try-$$" 2>/dev/null || { echo "no network name space may be made"; return; }
    ip netns del "$LAB_TAG-try-$$"
    d=$(cg_dirs | head -n 1)
    [ -n "$d" ] || { echo "no control groups under /sys/fs/cgroup"; return; }
    mkdir "$d/$LAB_TAG-try-$$" 2>/dev/null || { echo "no control group may be made in $d"; return; }
    rmdir "$d/$LAB_TAG-try-$$"
    losetup -f >/dev/null 2>&1 || echo "no loop device"
}

# Where this host gets its packages, the machines do too: lines of "URI SUITE COMPONENT".
lab_sources() {
    # shellcheck disable=SC2016  # apt fills these in
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' \
        'Created-By: Packages' 'Origin: Debian' | sort -u |
        awk -v s="$LAB_SUITE" '$2 == s || index($2, s "-") == 1'
}

# set_identity ROOT FQDN: what an installer, or a person, does when a machine gets its name
set_identity() {
    echo "$2" >"$1/etc/hostname"
    case $2 in
        localhost*) printf '127.0.0.1 %s localhost\n::1 localhost\n' "$2";;
        *) printf '127.0.0.1 localhost\n127.0.1.1 %s %s\n::1 localhost\n' "$2" "${2%%.*}";;
    esac >"$1/etc/hosts"
}

# copy_system ROOT USR TARGET: /usr is most of a system and its own machine never writes to it (it is
# read-only there), so links do. From outside: replace files under it, never write into them.
copy_system() {
    rm -rf --one-file-system "$3"
    mkdir "$3"
    cp -al "$2" "$3/usr"
    (cd "$1" && find . -mindepth 1 -maxdepth 1 ! -name usr -exec cp -a --reflink=auto -t "$3" {} +)
}

# set_machine_id ROOT absent|empty|uninitialized|new: as those who make images leave it. The copy that D-Bus
# keeps goes, or the old one would come back from there.
set_machine_id() {
    rm -f "$1/var/lib/dbus/machine-id" "$1/etc/machine-id"
    case $2 in
        absent) ;;
        empty) : >"$1/etc/machine-id";;
        uninitialized) echo uninitialized >"$1/etc/machine-id";;
        new) tr -d - </proc/sys/kernel/random/uuid >"$1/etc/machine-id";;
        *) die "unknown machine-id '$2'";;
    esac
}

# --- disks: the root, without /usr, on an ext4 image of its own, so that what was not synced can be lost --
disk_make() {  # disk_make DIR: puts DIR/root on DIR/disk.img
    rm -rf --one-file-system "${1:?}/usr"
    mv "$1/root/usr" "$1/usr"
    mkdir "$1/root/usr"
    mkfs.ext4 -q -F -d "$1/root" "$1/disk.img" $(($(du -sm "$1/root" | cut -f1) * 2 + 256))M >/dev/null
    rm -rf --one-file-system "$1/root"
    mkdir "$1/root"
}
disk_mount() {  # as a boot does: preened first, which replays the journal (1: errors were corrected)
    local rc=0
    ! mountpoint -q "$1/root" || return 0
    disk_is_free "$1" || disk_replace "$1"
    e2fsck -p "$1/disk.img" >"$1/fsck.log" 2>&1 || rc=$?
    [ $rc -le 1 ] || { cat "$1/fsck.log" >&2; die "e2fsck: $rc"; }
    mount -o loop "$1/disk.img" "$1/root"
    mount --bind "$1/usr" "$1/root/usr"
}
disk_umount() {
    local try m
    # What another name space keeps mounted is not written back by the unmount; after a cut this fails, rightly.
    ! mountpoint -q "$1/root" || sync -f "$1/root" 2>/dev/null || true
    for m in "$1/root/usr" "$1/root"; do
        for try in 0 0.1 0.2 0.5 1 2; do
            sleep "$try"
            mountpoint -q "$m" || break
            umount "$m" 2>/dev/null || true
        done
        ! mountpoint -q "$m" || die "cannot unmount \"$m\""
    done
    if ! disk_is_free "$1"; then disk_replace "$1"; fi
}
disk_is_free() {  # a name space that goes away, or another machine that starts, can hold a mount a moment longer
    local try
    for try in 0 0.1 0.2 0.5 1; do
        sleep "$try"
        [ -n "$(losetup -n -O NAME -j "$1/disk.img")" ] || return 0
    done
    return 1
}
# disk_replace DIR: whoever holds the disk for longer keeps a file without a name, and can write to nothing that
# is read again. Nothing was written since the unmount, so a copy is what the disk would be after it, or after
# the cut; the mount replays its journal.
disk_replace() {
    cp --sparse=always "$1/disk.img" "$1/disk.new"
    mv "$1/disk.new" "$1/disk.img"
}
# The file system stops as if its disk had lost power: EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH.
disk_cut() {
    # shellcheck disable=SC2016  # perl's
    perl -e 'my $how = pack("L", 2); open(F, "<", $ARGV[0]) && ioctl(F, 0x8004587d, $how) or die "$!\n"' "$1/root"
}

# --- processes: only a pid that still is the process that was recorded is ever signalled ---------------
pid_start() {
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    # After the name, which may hold blanks: field 3 is the state (a zombie is gone for us), 22 the start.
    read -r -a stat <<<"${stat##*) }"
    # shellcheck disable=SC2128  # both are elements of the array that was just read
    [ "${stat[0]}" != Z ] && echo "${stat[19]}"
}
pid_write() { echo "$2 $(pid_start "$2")" >"$1"; }
pid_is() {  # pid_is FILE: prints the pid in it while that process lives
    local pid start
    [ -s "$1" ] && read -r pid start <"$1" && [ -n "$start" ] && [ "$(pid_start "$pid")" = "$start" ] && echo "$pid"
}
own() {  # own NAME PID: the machine goes, with its files, when that process is no more
    local dir
    dir=$(machine_dir "$1")
    ! pid_is "$dir/watch.pid" >/dev/null || return 0
    pid_write "$dir/owner.pid" "$2"
    setsid "$LAB_HERE/boot.sh" --watch-owner "$1" </dev/null >/dev/null 2>&1 9>&- &
    pid_write "$dir/watch.pid" $!
}
# leader NAME: the host's pid of the machine's init. Asked every time: a reboot changes it.
leader() {
    local np l=""
    np=$(pid_is "$(machine_dir "$1")/nspawn.pid") || return 1
    { read -r l _ <"/proc/$np/task/$np/children"; } 2>/dev/null || true
    [ -n "$l" ] && [ "$(cat "/proc/$l/comm" 2>/dev/null)" = systemd ] && echo "$l"
}
in_machine() {  # in_machine LEADER COMMAND...
    local l=$1; shift
    nsenter -t "$l" -a env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        HOME=/root LANG=C.UTF-8 TERM=dumb SYSTEMD_PAGER="" SYSTEMD_COLORS=0 "$@"
}
# Ports of which we know what is spoken there: STARTTLS in that protocol, or TLS from the first byte.
# shellcheck disable=SC2034  # for those who source this
declare -A LAB_PORTS=([25]=smtp [110]=pop3 [143]=imap [389]=ldap [443]="" [465]="" [587]=smtp [636]="" [993]="" [995]=""
    [4190]=sieve [5432]=postgres [8443]="" [9443]="")
# settle NAME SECONDS: prints running, degraded, ...; fails when the time is over or the machine gone
settle() {
    local l s="" end=$((SECONDS + $2))
    while [ "$SECONDS" -lt "$end" ]; do
        pid_is "$(machine_dir "$1")/supervisor.pid" >/dev/null || { echo gone; return 1; }
        if l=$(leader "$1"); then
            # --wait blocks as soon as there is a bus, so this does not spin.
            s=$(in_machine "$l" timeout $((end - SECONDS)) systemctl is-system-running --wait 2>/dev/null) || true
            case $s in running|degraded|maintenance) echo "$s"; return;; esac
        fi
        sleep 0.05
    done
    echo "not settled after $2 s (${s:-no init})"; return 1
}

# --- control groups: one of its own for each machine, or nspawn's payload groups of two would be one ----
cg_dirs() {  # every hierarchy that nspawn writes to: v1 beside v2, or v2 alone
    local d
    for d in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do [ ! -d "$d" ] || echo "$d"; done
    [ ! -f /sys/fs/cgroup/cgroup.procs ] || echo /sys/fs/cgroup
}
cg_enter() {  # puts the calling (sub)shell into group $1
    local d
    for d in $(cg_dirs); do mkdir -p "$d/$1"; echo "$BASHPID" >"$d/$1/cgroup.procs"; done
}
cg_pids() {
    local d
    for d in $(cg_dirs); do
        [ ! -d "$d/$1" ] || find "$d/$1" -name cgroup.procs -exec cat {} + 2>/dev/null || true
    done | sort -un
}
cg_kill() {  # ends whatever still runs in group $1, and removes it
    local pid
    for pid in $(cg_pids "$1"); do kill -KILL "$pid" 2>/dev/null || true; done
    cg_remove "$1"
}
cg_remove() {  # removes group $1 once it is empty
    local d try
    for d in $(cg_dirs); do
        for try in 0 0.1 0.1 0.2 0.3 0.5 1; do  # the kernel needs a moment after the last exit
            sleep "$try"
            [ -d "$d/$1" ] || break
            find "$d/$1" -depth -type d -exec rmdir {} + 2>/dev/null || true
        done
    done
}

# --- network: TAG-NAME is the machine's, TAG-NAME-x the world it is asked from, a cable between them ----
# Nothing leads out of either, and the host's own network is not touched.
net_up() {  # net_up NAME CIDR
    local m=$LAB_TAG-$1 x=$LAB_TAG-$1-x n
    net_down "$1"
    for n in "$m" "$x"; do ip netns add "$n"; ip -n "$n" link set lo up; done
    ip -n "$x" link add eth0 type veth peer name eth0 netns "$m"
    ip -n "$m" addr add "$2" dev eth0
    ip -n "$x" addr add "${2%.*}.254/${2#*/}" dev eth0
    for n in "$m" "$x"; do ip -n "$n" link set eth0 up; done
}
# in_world NAME COMMAND...: where the machine is seen from. (Not "ip netns exec": it copies every mount of this
# host, the disks of machines too, and keeps them busy for as long as the command runs.)
in_world() {
    local n=$1; shift
    nsenter --net="/run/netns/$LAB_TAG-$n-x" "$@"
}
address_of() { ip -n "$LAB_TAG-$1" -4 -o addr show dev eth0 | awk '{ sub("/.*", "", $4); print $4; exit }'; }
net_down() {
    local n
    for n in "$LAB_TAG-$1" "$LAB_TAG-$1-x"; do [ ! -e "/run/netns/$n" ] || ip netns del "$n"; done
}
