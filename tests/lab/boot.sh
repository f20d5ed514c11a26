#!/bin/bash
# boot.sh NAME [--variant V] [--hostname FQDN] [--address CIDR] [--owner PID] [--no-start]
# Boots machine NAME and waits until systemd inside has settled; prints "NAME STATE SECONDS".
#   --variant   what it is copied from, the first time (mail)
#   --hostname  renames it before it starts
#   --address   the address of its eth0 in this boot (198.51.100.10/24)
#   --owner     the machine goes, with its files, when that process is no more
#   --no-start  only makes the copy and prints where its root is
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
    rm -f "$(machine_dir "$1")/watch.pid"
    exec "$LAB_HERE/stop.sh" "$1" --cut --remove
}
case ${1:-} in
    --supervise) shift; supervise "$@"; exit 0;;
    --watch-owner) watch_owner "$2";;
esac

name=${1:?usage: boot.sh NAME [options]}; shift
check_name "$name"
variant=mail fqdn="" address=198.51.100.10/24 owner="" start=1
while [ $# -gt 0 ]; do
    case $1 in
        --variant) variant=$2; shift;;
        --hostname) fqdn=$2; shift;;
        --address) address=$2; shift;;
        --owner) owner=$2; shift;;
        --no-start) start="";;
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
    [ -e "$built.stamp" ] || die "variant $variant is not built"
    rm -rf --one-file-system "$dir/root"
    mkdir "$dir/root"
    # /usr is most of a system and its own machine never writes to it (it is read-only there), so links
    # do. From outside: replace files under it, never write into them.
    cp -al "$built/usr" "$dir/root/usr"
    (cd "$built" && find . -mindepth 1 -maxdepth 1 ! -name usr -exec cp -a --reflink=auto -t "$dir/root" {} +)
    touch "$dir/complete"
fi
[ -z "$fqdn" ] || set_identity "$dir/root" "$fqdn"
if [ -n "$owner" ] && ! pid_is "$dir/watch.pid" >/dev/null; then
    pid_write "$dir/owner.pid" "$owner"
    setsid "$0" --watch-owner "$name" </dev/null >/dev/null 2>&1 9>&- &
    pid_write "$dir/watch.pid" $!
fi
if [ -z "$start" ]; then echo "$dir/root"; exit 0; fi

net_up "$name" "$address"
began=$(date +%s%N)
setsid "$0" --supervise "$dir" "$group" \
    systemd-nspawn -q -D "$dir/root" --boot --register=no --keep-unit --machine="$group" \
    --network-namespace-path="/run/netns/$LAB_TAG-$name" --bind-ro="$dir/root/usr:/usr" \
    --console=read-only --resolv-conf=off --timezone=off --link-journal=no \
    </dev/null >"$dir/console.log" 2>&1 9>&- &
pid_write "$dir/supervisor.pid" $!
state=$(settle "$name" 90) || { tail -n 5 "$dir/console.log" >&2; "$LAB_HERE/stop.sh" "$name" --cut; die "$name: $state"; }
took=$((($(date +%s%N) - began) / 1000000))
printf '%s %s %d.%03d\n' "$name" "$state" $((took / 1000)) $((took % 1000))
