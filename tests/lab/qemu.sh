#!/bin/bash
# qemu.sh missing                 why no virtual machine can run on this host; nothing when one can
# qemu.sh make NAME BINARY [PID]  makes machine NAME: a bare Debian on a disk, with reseed and qemu-init in it;
#                                 it goes, with its files, when process PID is no more
# qemu.sh run NAME SECONDS WORD   boots it with qemu-init as its first process, which is told WORD; prints its
#                                 console; fails unless it ends by itself in that time
# qemu.sh run NAME SECONDS WORD --kill MARKER MS
#                                 kills it MS milliseconds after MARKER has come on the console
# qemu.sh remove NAME
# Without KVM: what hardware there is differs from host to host. The kernel is Debian's for clouds, in which ext4
# and NVMe are built in, so that it needs no initramfs.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

kernel=$LAB_DIR/cache/vmlinuz-cloud

why_missing() {
    command -v qemu-system-x86_64 >/dev/null || { echo "qemu-system-x86_64 not found (package qemu-system-x86)"; return; }
    [ "$(uname -m)" = x86_64 ] || { echo "this host is not x86_64"; return; }
    lab_missing
}

fetch_kernel() (
    [ ! -s "$kernel" ] || exit 0
    package=$(apt-cache depends linux-image-cloud-amd64 | awk '$1 == "Depends:" { print $2; exit }')
    [ -n "$package" ] || die "apt knows no kernel; run apt-get update"
    scratch=$(mktemp -d "$LAB_DIR/cache/kernel.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    cd "$scratch"
    apt-get -qq -o APT::Sandbox::User=root download "$package"
    dpkg-deb --fsys-tarfile ./*.deb | tar -x --wildcards './boot/vmlinuz-*'
    mv boot/vmlinuz-* "$kernel"
)

make_machine() {
    local dir=$1 binary=$2 owner=${3:-}
    "$LAB_HERE/build-root.sh" base
    fetch_kernel
    "$LAB_HERE/stop.sh" "$name" --cut --remove
    mkdir -p "$dir/root"
    exec 9>"$dir/lock"
    flock 9
    if [ -n "$owner" ]; then own "$name" "$owner"; fi
    # What no test reads stays out: the image is written as a whole.
    tar -C "$dir/root" --numeric-owner --exclude './usr/share/*/*' --exclude './var/lib/*/*' --exclude './var/cache/*' \
        -xf "$LAB_DIR/cache/base-$LAB_SUITE.tar"
    install -m 755 "$binary" "$dir/root/usr/bin/reseed"
    install -m 755 "$LAB_HERE/qemu-init" "$dir/root/qemu-init"
    set_identity "$dir/root" old.example.com
    mkfs.ext4 -q -F -d "$dir/root" "$dir/disk.img" 1G >/dev/null
    rm -rf --one-file-system "$dir/root"
}

run_machine() {
    local dir=$1 seconds=$2 word=$3 marker=${5:-} ms=${6:-} pid end
    : >"$dir/console.log"
    # The machine ends with this script, however that ends.
    setpriv --pdeathsig KILL qemu-system-x86_64 -accel tcg,thread=multi -cpu max -M q35 -smp 2 -m 512 \
        -nodefaults -no-user-config -display none -no-reboot -serial "file:$dir/console.log" \
        -kernel "$kernel" -append "console=ttyS0 quiet panic=-1 root=/dev/nvme0n1 rw init=/qemu-init $word" \
        -drive "if=none,id=disk,format=raw,file=$dir/disk.img" -device nvme,serial=disk,drive=disk \
        </dev/null >&2 &
    pid=$!
    end=$((SECONDS + seconds))
    while [ -n "$(pid_start $pid)" ]; do
        if [ "$SECONDS" -ge "$end" ]; then
            kill -KILL $pid
            cat "$dir/console.log"
            die "it did not end in $seconds s"
        fi
        if [ -n "$marker" ] && grep -q "$marker" "$dir/console.log"; then
            sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
            kill -KILL $pid
            break
        fi
        sleep 0.05
    done
    { wait $pid; } 2>/dev/null || true
    cat "$dir/console.log"
}

command=${1:?usage: qemu.sh missing|make|run|remove} name=${2:-}
[ "$command" = missing ] || check_name "$name"
dir=$(machine_dir "$name")
case $command in
    missing) why_missing;;
    make) shift 2; make_machine "$dir" "$@";;
    run) shift 2; run_machine "$dir" "$@";;
    remove) "$LAB_HERE/stop.sh" "$name" --cut --remove;;
    *) die "unknown command $command";;
esac
