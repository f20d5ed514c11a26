#!/bin/bash
# stop.sh NAME [--cut [--when UNIT MS]] [--remove]
# Powers machine NAME off in good order; --cut kills it on the spot, and where it has a disk of its own, what
# was not synced is lost, as in a power cut, --when so many milliseconds after UNIT has begun; --remove deletes
# its files too.
# Whatever an earlier run left under that name goes as well. Stopping a stopped machine is no error.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

name=${1:?usage: stop.sh NAME [--cut] [--remove]}; shift
check_name "$name"
cut="" remove="" unit="" ms=0
while [ $# -gt 0 ]; do
    case $1 in
        --cut) cut=1;;
        --when) unit=$2 ms=$3; shift 2;;
        --remove) remove=1;;
        *) die "unknown option $1";;
    esac
    shift
done
dir=$(machine_dir "$name") group=$LAB_TAG-$name
wait_gone() {  # until the supervisor has tidied up
    local end=$((SECONDS + $1))
    while pid_is "$dir/supervisor.pid" >/dev/null; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}
wait_for_unit() {  # its control group is made when its program is started
    local d end=$((SECONDS + 60)) groups=()
    for d in $(cg_dirs); do groups+=("$d/$group/payload/system.slice/$unit"); done
    until for d in "${groups[@]}"; do [ ! -d "$d" ] || break; done && [ -d "$d" ]; do
        [ "$SECONDS" -lt "$end" ] || die "$unit did not begin in 60 s"
        sleep 0.002
    done
}

if [ -z "$cut" ] && np=$(pid_is "$dir/nspawn.pid"); then
    kill -TERM "$np"  # nspawn asks the machine's init to power off
    wait_gone 30 || echo "lab: $name did not stop in 30 s, cutting" >&2
fi
if [ -n "$unit" ]; then
    wait_for_unit
    sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
fi
if [ -n "$cut" ] && [ -z "$remove" ] && mountpoint -q "$dir/root"; then disk_cut "$dir"; fi
# The init of a pid name space takes every process in it along.
if l=$(leader "$name"); then kill -KILL "$l" || true; wait_gone 5 || true; fi
for role in supervisor watch; do
    if pid=$(pid_is "$dir/$role.pid"); then kill -KILL "$pid" || true; fi
done
# What a supervisor that was killed may have left: members of the machine's own control group.
cg_kill "$group"
net_down "$name"
# nspawn's own traces, which it leaves when it is killed.
[ ! -d "/run/systemd/nspawn/propagate/$group" ] || rmdir "/run/systemd/nspawn/propagate/$group"
[ ! -d "$dir/root" ] || rm -f "/run/systemd/nspawn/locks/inode-$(stat -c %d:%i "$dir/root")"
if [ -e "$dir/disk.img" ]; then disk_umount "$dir"; fi
rm -f "$dir"/*.pid
if [ -n "$remove" ]; then rm -rf --one-file-system "$dir"; fi
