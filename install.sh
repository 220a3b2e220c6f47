#!/bin/sh
# Installs the coolops command for CI from a place that you keep it at:
#
#   curl -fsS https://downloads.example.com/coolops/install.sh | COOLOPS_DOWNLOAD_URL=https://downloads.example.com/coolops sh
#
# COOLOPS_DOWNLOAD_URL  folder with coolops-x86_64-linux and coolops-x86_64-linux.sha256 (what ./just client makes)
# COOLOPS_INSTALL_DIR   where to; ~/.local/bin otherwise. No root is needed.
#
# Everything is in a function, so that a download of this script that breaks off runs nothing.
set -eu

fail() {
  echo "coolops install: $*" >&2
  exit 1
}

fetch() { # fetch URL FILE
  if command -v curl >/dev/null 2>&1; then
    curl -fsSL --retry 3 -o "$2" "$1"
  elif command -v wget >/dev/null 2>&1; then
    wget -q -O "$2" "$1"
  else
    fail "neither curl nor wget is there; install one of them"
  fi
}

main() {
  system=$(uname -s)
  machine=$(uname -m)
  if [ "$system" != Linux ] || { [ "$machine" != x86_64 ] && [ "$machine" != amd64 ]; }; then
    fail "there is a program for Linux on x86_64 only, and this is $system on $machine;" \
      "announce builds with curl instead, or build coolops here: cargo build --no-default-features --profile client"
  fi
  base=${COOLOPS_DOWNLOAD_URL:-}
  [ -n "$base" ] || fail "COOLOPS_DOWNLOAD_URL is not set; set it to the folder that holds coolops-x86_64-linux"
  base=${base%/}
  folder=${COOLOPS_INSTALL_DIR:-${HOME:?}/.local/bin}
  name=coolops-x86_64-linux
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  fetch "$base/$name" "$work/$name" || fail "$base/$name can't be fetched"
  fetch "$base/$name.sha256" "$work/$name.sha256" || fail "$base/$name.sha256 can't be fetched; nothing is installed without its checksum"
  wanted=$(cut -d ' ' -f 1 <"$work/$name.sha256")
  found=$(sha256sum "$work/$name" | cut -d ' ' -f 1)
  [ "$wanted" = "$found" ] || fail "the checksum of $base/$name is $found and should be $wanted; nothing is installed"
  mkdir -p "$folder" || fail "$folder can't be made; set COOLOPS_INSTALL_DIR to a folder of yours"
  chmod 0755 "$work/$name"
  # Moved within the folder, so that nobody ever runs half a program.
  cp "$work/$name" "$folder/.coolops.new" || fail "$folder can't be written to; set COOLOPS_INSTALL_DIR to a folder of yours"
  mv "$folder/.coolops.new" "$folder/coolops"
  echo "Installed $("$folder/coolops" --version) as $folder/coolops"
  case ":${PATH:-}:" in
    *":$folder:"*) ;;
    *) echo "$folder is not in your PATH; add it: export PATH=\"$folder:\$PATH\"" ;;
  esac
}

main "$@"
