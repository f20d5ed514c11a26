#!/bin/bash
# exec.sh NAME COMMAND...            runs COMMAND inside the machine, as root
# exec.sh NAME --outside COMMAND...  runs it here, in the network that sees the machine
# exec.sh NAME --settle SECONDS      waits until systemd inside has settled, and prints its state
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
name=${1:?usage: exec.sh NAME COMMAND...}; shift
check_name "$name"
case ${1:-} in
    --outside) shift; in_world "$name" "$@"; exit;;
    --settle) settle "$name" "$2"; exit;;
esac
l=$(leader "$name") || die "$name is not running"
in_machine "$l" "$@"
