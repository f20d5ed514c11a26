#!/bin/bash
# boot.sh NAME [--variant V | --clone OTHER] [--disk] [--hostname FQDN] [--machine-id HOW]
#              [--address CIDR] [--owner PID] [--no-start | --no-wait]
# Boots machine NAME and waits until systemd inside has settled; prints "NAME STATE SECONDS".
#   --variant     what it is copied from, the first time (mail)
#   --clone       copied from another machine instead, which must be off; its machine-id is new unless told
#   --disk        the first time: its root gets a disk of its own, so that "stop.sh --cut" is a power cut
#   --hostname    renames it before it starts
#   --machine-id  absent, empty, uninitialized or new, and the copy that D-Bus keeps gone
#   --first-boot  the same as --machine-id uninitialized
#   --address     the address of its eth0 in this boot (198.51.100.10/24)
#   --owner       the machine goes, with its files, when that process is no more
#   --no-start    only makes the copy and prints where its root is
#   --no-wait     starts it and comes back at once
# A reboot asked for inside is carried out.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

supervise() {  # runs nspawn, again for as long as it says "reboot" (133, because of --keep-unit)
    local dir=$1 group=$2 rc; shift 2
    while :; do
        ( cg_enter "$group"; exec "$@" ) &
        pid_write "$dir/nspawn.pid" $!
        rc=0; wait $! || rc=$?
        cg_remove "$group"
        [ $rc = 133 ] || break
    done
    rm -f "$dir/nspawn.pid" "$dir/supervisor.pid"
}
watch_owner() {  # a killed test runner cannot tidy up
    while pid_is "$(machine_dir "$1")/owner.pid" >/dev/null; do sleep 1; done
    # A start that is under way comes to its end first.
    exec 9>"$(machine_dir "$1")/lock"
    flock 9
    rm -f "$(machine_dir "$1")/watch.pid"
    exec "$LAB_HERE/stop.sh" "$1" --cut --remove
}
case ${1:-} in
    --supervise) shift; supervise "$@"; exit 0;;
    --watch-owner) watch_owner "$2";;
esac

name=${1:?usage: boot.sh NAME [options]}; shift
check_name "$name"
variant=mail clone="" disk="" fqdn="" id="" address=198.51.100.10/24 owner="" start=1 wait=1
while [ $# -gt 0 ]; do
    case $1 in
        --variant) variant=$2; shift;;
        --clone) clone=$2; id=${id:-new}; shift;;
        --disk) disk=1;;
        --hostname) fqdn=$2; shift;;
        --machine-id) id=$2; shift;;
        --first-boot) id=uninitialized;;
        --address) address=$2; shift;;
        --owner) owner=$2; shift;;
        --no-start) start="";;
        --no-wait) wait="";;
        *) die "unknown option $1";;
    esac
    shift
done
dir=$(machine_dir "$name") built=$LAB_DIR/roots/$variant group=$LAB_TAG-$name
mkdir -p "$dir"
exec 9>"$dir/lock"
flock 9
! pid_is "$dir/supervisor.pid" >/dev/null || die "$name is running"
[ -z "$(cg_pids "$group")" ] || die "$name: processes of an earlier run are left; stop.sh $name --cut"

if [ ! -e "$dir/complete" ]; then
    from=$built usr=$built/usr
    if [ -n "$clone" ]; then
        other=$(machine_dir "$clone") from=$(machine_dir "$clone")/root usr=$(machine_dir "$clone")/usr
        [ -e "$other/complete" ] || die "there is no machine $clone"
        exec 8>"$other/lock"
        flock 8
        ! pid_is "$other/supervisor.pid" >/dev/null || die "$clone is running"
        if [ -e "$other/disk.img" ]; then disk_mount "$other"; else usr=$from/usr; fi
    else
        [ -e "$built.stamp" ] || die "variant $variant is not built"
    fi
    copy_system "$from" "$usr" "$dir/root"
    exec 8>&-
    if [ -n "$disk" ]; then disk_make "$dir"; fi
    touch "$dir/complete"
fi
if [ -n "$owner" ]; then own "$name" "$owner"; fi
if [ -e "$dir/disk.img" ]; then disk_mount "$dir"; fi
[ -z "$fqdn" ] || set_identity "$dir/root" "$fqdn"
[ -z "$id" ] || set_machine_id "$dir/root" "$id"
if [ -z "$start" ]; then echo "$dir/root"; exit 0; fi

net_up "$name" "$address"
began=$(date +%s%N)
setsid "$0" --supervise "$dir" "$group" \
    systemd-nspawn -q -D "$dir/root" --boot --register=no --keep-unit --machine="$group" \
    --network-namespace-path="/run/netns/$LAB_TAG-$name" --bind-ro="$dir/root/usr:/usr" \
    --console=read-only --resolv-conf=off --timezone=off --link-journal=no \
    </dev/null >"$dir/console.log" 2>&1 9>&- &
pid_write "$dir/supervisor.pid" $!
[ -n "$wait" ] || exit 0
state=$(settle "$name" 90) || { tail -n 5 "$dir/console.log" >&2; "$LAB_HERE/stop.sh" "$name" --cut; die "$name: $state"; }
took=$((($(date +%s%N) - began) / 1000000))
printf '%s %s %d.%03d\n' "$name" "$state" $((took / 1000)) $((took % 1000))
