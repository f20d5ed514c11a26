#!/bin/bash
# install.sh ROOT BINARY
# Puts the program into a root and enables its units, as installing the package does: what the tests boot.
set -euo pipefail

root=${1:?usage: install.sh ROOT BINARY} binary=${2:?usage: install.sh ROOT BINARY}
source=$(cd "$(dirname "$0")/../.." && pwd)

"$source/rpm/install" "$root" "$binary"
# What the preset says of each unit that can be enabled.
grep -l -d skip '^\[Install\]' "$root"/usr/lib/systemd/system/reseed* | sed 's|.*/||' |
    xargs systemctl --root="$root" preset --quiet
