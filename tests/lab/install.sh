#!/bin/bash
# install.sh ROOT BINARY
# Puts the program into a root as a package does: the checklist for packagers, and what the tests boot.
# Files are replaced, never written into: the lab's machines share theirs by hard links.
set -euo pipefail

root=${1:?usage: install.sh ROOT BINARY} binary=${2:?usage: install.sh ROOT BINARY}
source=$(cd "$(dirname "$0")/../.." && pwd)
units=$root/usr/lib/systemd/system

put() {  # put MODE FILE TARGET
    install -D -m "$1" "$2" "$root$3"
}
put 755 "$binary" /usr/sbin/reseed
install -d "$root/usr/lib/systemd/system-generators"
# The program acts as the generator when it is called by this name.
ln -sfn /usr/sbin/reseed "$root/usr/lib/systemd/system-generators/reseed-generator"

for unit in "$source"/systemd/*.{service,timer,path}; do
    put 644 "$unit" "/usr/lib/systemd/system/${unit##*/}"
done
# The dash makes it a drop-in of all units whose names begin so (systemd.unit(5)).
for service in reseed.service reseed-.service; do
    put 644 "$source/systemd/reseed-sandbox.conf" "/usr/lib/systemd/system/$service.d/10-sandbox.conf"
done
put 644 "$source/systemd/90-reseed.preset" /usr/lib/systemd/system-preset/90-reseed.preset
put 644 "$source/systemd/reseed.tmpfiles" /usr/lib/tmpfiles.d/reseed.conf
put 755 "$source/systemd/90-reseed" /usr/lib/NetworkManager/dispatcher.d/90-reseed

for hook in "$source"/hooks.d/*.toml; do
    put 644 "$hook" "/usr/lib/reseed/hooks.d/${hook##*/}"
done
put 644 "$source/seed/seed.toml" /usr/share/reseed/seed.template.toml
install -d -m 755 "$root/etc/reseed"
install -d -m 700 "$root/var/lib/reseed"

# What the preset says of each unit that can be enabled.
grep -l -d skip '^\[Install\]' "$units"/reseed* | sed 's|.*/||' | xargs systemctl --root="$root" preset --quiet
