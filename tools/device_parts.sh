#!/usr/bin/env bash
# What the tests of devices need beside the ordinary installation: an emulator, a compiler for arm64, clients and an
# ssh server from Debian, Android's adbd for this machine and for arm64, and runners for both.
# usage: tools/device_parts.sh PATH/TO/squeeze
set -euo pipefail
squeeze=$1
machine=$(uname -m | sed 's/aarch64/arm64/; s/x86_64/amd64/')
parts=${XDG_CACHE_HOME:-$HOME/.cache}/squeeze/device-parts
packages=(gcc libc6-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static openssh-client openssh-server
  adb debian-archive-keyring)
device=(adbd dash coreutils findutils)
suite=trixie # the oldest release whose main part has adbd
keys=/usr/share/keyrings/debian-archive-keyring.gpg

# Debian's packages for a device, with all that they need, as a folder: nothing of it is installed here.
unpack() {
  local architecture=$1 scratch=$2
  mkdir -p "$scratch"/{lists,archives}/partial "$scratch/sources" "$scratch/root"
  : >"$scratch/status"
  echo "deb [signed-by=$keys] http://deb.debian.org/debian $suite main" >"$scratch/sources.list"
  local apt=(apt-get -qq -y -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture"
    -o APT::Sandbox::User=root -o APT::Install-Recommends=false -o Acquire::Languages=none
    -o Debug::NoLocking=1 -o "Dir::Cache=$scratch" -o "Dir::State::status=$scratch/status"
    -o "Dir::State::lists=$scratch/lists" -o "Dir::Etc::sourcelist=$scratch/sources.list"
    -o "Dir::Etc::sourceparts=$scratch/sources")
  "${apt[@]}" update
  "${apt[@]}" --download-only install "${device[@]}" >/dev/null
  local package
  for package in "$scratch"/archives/*.deb; do dpkg-deb -x "$package" "$scratch/root"; done
  rm -rf "$scratch"/root/usr/share
  mv "$scratch/root" "$parts/$architecture"
}

if ! dpkg --status "${packages[@]}" >/dev/null 2>&1; then
  as_root=(); [ "$(id -u)" = 0 ] || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq
  # A server that starts by itself is not wanted: the tests start one of their own.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -qq -y --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "${packages[@]}" >/dev/null
fi
mkdir -p "$parts"
scratch=$(mktemp -d -p "$parts"); trap 'rm -rf "$scratch"' EXIT
waiting=()
for architecture in "$machine" arm64; do
  # The second is the first on a machine that is arm64 itself.
  if [ -d "$parts/$architecture" ] || [ -d "$scratch/$architecture" ]; then continue; fi
  mkdir "$scratch/$architecture"
  unpack "$architecture" "$scratch/$architecture" & waiting+=($!)
done
for abi in "linux-${machine/amd64/x86_64}" linux-arm64; do
  "$squeeze" device bundle --abi "$abi" --download
done
for process in "${waiting[@]}"; do wait "$process"; done
