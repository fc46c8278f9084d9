#!/usr/bin/env bash
# What the tests of devices need beside the ordinary installation: an emulator, a compiler for arm64 and an ssh
# server from Debian, and runners for this machine and for arm64. usage: tools/device_parts.sh PATH/TO/squeeze
set -euo pipefail
squeeze=$1
packages=(gcc libc6-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static openssh-client openssh-server)
if ! dpkg --status "${packages[@]}" >/dev/null 2>&1; then
  as_root=(); [ "$(id -u)" = 0 ] || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq
  # A server that starts by itself is not wanted: the tests start one of their own.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -qq -y --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "${packages[@]}" >/dev/null
fi
for abi in "linux-$(uname -m | sed s/aarch64/arm64/)" linux-arm64; do
  "$squeeze" device bundle --abi "$abi" --download
done
