#!/bin/bash
# build-root.sh VARIANT
# Builds roots/VARIANT: a bare Debian (made once), the packages of variants/VARIANT.pkgs, then
# variants/VARIANT.setup run inside. Does nothing when it is there and its inputs are what they were.
# VARIANT "base": only the bare Debian.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

variant=${1:?usage: build-root.sh VARIANT}
check_name "$variant"
inputs=("$LAB_HERE/build-root.sh")
[ "$variant" = base ] || inputs+=("$LAB_HERE/variants/$variant.pkgs" "$LAB_HERE/variants/$variant.setup")
root=$LAB_DIR/roots/$variant new=$LAB_DIR/roots/$variant.new log=$LAB_DIR/roots/$variant.log
base=$LAB_DIR/cache/base-$LAB_SUITE.tar group=$LAB_TAG-build-$variant
mkdir -p "$LAB_DIR/cache/debs/partial" "$LAB_DIR/roots"
exec 9>"$LAB_DIR/cache/lock"
flock 9

stamp=$( { echo "$LAB_SUITE $LAB_BUILD_FQDN"; cat "${inputs[@]}"; } | sha256sum | cut -c1-64)
[ "$(cat "$root.stamp" 2>/dev/null)" != "$stamp" ] || exit 0
missing=$(lab_missing)
[ -z "$missing" ] || die "$missing"
cg_kill "$group"  # a build that was interrupted
rm -rf --one-file-system "$new"

if [ ! -s "$base" ]; then
    echo "lab: debootstrap $LAB_SUITE" >&2
    mirror=$(lab_sources | awk -v s="$LAB_SUITE" '$2 == s { print $1; exit }')
    [ -n "$mirror" ] || die "apt knows no Debian source for $LAB_SUITE; run apt-get update"
    (
        cg_enter "$group"
        exec unshare --mount debootstrap --variant=minbase \
            --include=systemd,systemd-sysv,dbus,openssl,ca-certificates,iproute2,hostname \
            "$LAB_SUITE" "$new" "$mirror" </dev/null 9>&-
    ) >"$LAB_DIR/cache/debootstrap.log" 2>&1 ||
        die "debootstrap failed; see $LAB_DIR/cache/debootstrap.log"
    tar -C "$new" --numeric-owner --xattrs --exclude='./var/cache/apt/archives/*.deb' -cf "$base.new" .
    mv "$base.new" "$base"
    rm -rf --one-file-system "$new"
fi
[ "$variant" != base ] || exit 0

echo "lab: building $variant" >&2
mkdir -p "$new"
tar -C "$new" --numeric-owner --xattrs --xattrs-include='*' -xf "$base"
set_identity "$new" "$LAB_BUILD_FQDN"
lab_sources | sed 's/^/deb /' >"$new/etc/apt/sources.list"
# Nothing may start while packages are being configured.
printf '#!/bin/sh\nexit 101\n' >"$new/usr/sbin/policy-rc.d"
chmod 755 "$new/usr/sbin/policy-rc.d"
mkdir "$new/.lab"
cp "${inputs[@]:1}" "$new/.lab/"
cat >"$new/.lab/build" <<'B'
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
apt-get -qq update
# shellcheck disable=SC2046
apt-get -q -y --no-install-recommends -o DPkg::Options::=--force-unsafe-io install $(sed 's/#.*//' /.lab/*.pkgs)
sh -eux /.lab/*.setup
# No resolver: look-ups then fail at once, where in a network that leads nowhere they would time out.
: >/etc/resolv.conf
rm -rf /usr/sbin/policy-rc.d /.lab /var/lib/apt/lists/* /var/cache/apt/*.bin
B
# nspawn brings /proc, /sys, /dev and its own host name and processes, and takes them all down again.
# (Not --suppress-sync: it fails O_SYNC opens, and LMDB with them.)
(
    cg_enter "$group"
    exec systemd-nspawn -q -D "$new" --register=no --keep-unit --pipe \
        --machine="$group" --hostname="$LAB_BUILD_FQDN" --resolv-conf=replace-host \
        --bind="$LAB_DIR/cache/debs:/var/cache/apt/archives" \
        /bin/sh /.lab/build </dev/null 9>&-
) >"$log" 2>&1 || { tail -n 15 "$log" >&2; cg_remove "$group"; die "building $variant failed; see $log"; }
cg_remove "$group"
rm -rf --one-file-system "$root.stamp" "$root"
mv "$new" "$root"
echo "$stamp" >"$root.stamp"
