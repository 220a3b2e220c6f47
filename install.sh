#!/bin/sh
# Installs the coolops command for CI. Your own coolops hands it out:
#
#   curl -fsSL https://coolops.example.com/install.sh | sh
#
# On Linux on x86_64 that is a program; elsewhere (ARM, macOS, Alpine, Windows' git bash) a script with the same commands,
# which needs curl or GNU wget, and awk.
#
# COOLOPS_DOWNLOAD_URL  folder with coolops-x86_64-linux, coolops.sh and their .sha256 (what ./just client makes); that of the
#                       coolops that handed this script out otherwise
# COOLOPS_INSTALL_DIR   where to; otherwise the first of /usr/local/bin, ~/.local/bin and ~/bin that programs are found in and
#                       that can be written to, or else ~/.local/bin. No root is needed.
#
# Everything is in functions, so that a download of this script that breaks off runs nothing.
set -eu

# Filled in by whoever hands the script out.
handed_out_by=''
has_program='yes'

fail() {
  echo "coolops install: $*" >&2
  exit 1
}

fetch() { # fetch URL FILE
  if command -v curl >/dev/null 2>&1; then
    curl -fsSL --retry 3 --connect-timeout 15 --max-time 300 -o "$2" "$1"
  elif command -v wget >/dev/null 2>&1; then
    wget -q -T 60 -O "$2" "$1"
  else
    fail "neither curl nor wget is there; install one of them"
  fi
}

# The first word of 64 hex digits, whatever stands around it; nothing when there is none.
digest() {
  tr -d '\r' | tr 'A-F\t=' 'a-f  ' | tr ' ' '\n' | grep -x '[0-9a-f]\{64\}' | head -n 1 || true
}

sum() { # sum FILE
  if command -v sha256sum >/dev/null 2>&1; then
    sha256sum <"$1" | digest
  elif command -v shasum >/dev/null 2>&1; then
    shasum -a 256 <"$1" | digest
  else
    fail "neither sha256sum nor shasum is there; nothing is installed unchecked"
  fi
}

# Where programs are found, if it can be written to; else the usual place of people's own programs.
place() {
  for folder in /usr/local/bin "${HOME:-/nowhere}/.local/bin" "${HOME:-/nowhere}/bin"; do
    case ":${PATH:-}:" in
      *":$folder:"*) if [ -d "$folder" ] && [ -w "$folder" ]; then echo "$folder" && return; fi ;;
    esac
  done
  [ -z "${HOME:-}" ] || echo "$HOME/.local/bin"
}

# Whether this is Alpine, or another Linux without glibc.
is_musl() {
  for loader in /lib/ld-musl-*; do
    [ ! -e "$loader" ] || return 0
  done
  return 1
}

work=""
new=""
tidy() {
  [ -z "$work" ] || rm -rf "$work"
  [ -z "$new" ] || rm -f "$new"
}

main() {
  unset CDPATH
  case "$has_program $(uname -s) $(uname -m)" in
    'yes Linux x86_64' | 'yes Linux amd64') if is_musl; then name=coolops.sh; else name=coolops-x86_64-linux; fi ;;
    *) name=coolops.sh ;;
  esac
  base=${COOLOPS_DOWNLOAD_URL:-$handed_out_by}
  [ -n "$base" ] || fail "COOLOPS_DOWNLOAD_URL is not set; set it to the folder that holds $name"
  base=${base%/}
  folder=${COOLOPS_INSTALL_DIR:-}
  [ -n "$folder" ] || folder=$(place)
  [ -n "$folder" ] || fail "neither COOLOPS_INSTALL_DIR nor HOME is set; say where to install"
  trap tidy EXIT
  # A shell that is killed does not run the trap of its exit by itself.
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  work=$(mktemp -d)
  fetch "$base/$name" "$work/$name" || fail "$base/$name can't be fetched"
  fetch "$base/$name.sha256" "$work/sum" || fail "$base/$name.sha256 can't be fetched; nothing is installed without its checksum"
  wanted=$(digest <"$work/sum")
  [ -n "$wanted" ] || fail "$base/$name.sha256 holds no SHA-256 checksum; nothing is installed"
  found=$(sum "$work/$name")
  [ "$wanted" = "$found" ] || fail "the checksum of $base/$name is $found and should be $wanted; nothing is installed"
  { mkdir -p "$folder" && folder=$(cd "$folder" && pwd); } || fail "$folder can't be made; set COOLOPS_INSTALL_DIR to a folder of yours"
  [ ! -d "$folder/coolops" ] || fail "$folder/coolops is a folder; move it away, or set COOLOPS_INSTALL_DIR"
  # Under a name of its own first, and tried there: nobody ever runs half a program.
  new=$(mktemp "$folder/.coolops.XXXXXX") || fail "$folder can't be written to; set COOLOPS_INSTALL_DIR to a folder of yours"
  { cat "$work/$name" >"$new" && chmod 0755 "$new"; } || fail "$folder can't be written to; is its disk full?"
  version=$("$new" --version) || fail "the program can't be run in $folder; is it mounted noexec? Set COOLOPS_INSTALL_DIR to another folder"
  mv -f "$new" "$folder/coolops" || fail "$folder/coolops can't be replaced"
  new=""
  echo "Installed $version as $folder/coolops"
  case ":${PATH:-}:" in
    *":$folder:"*) ;;
    *) echo "$folder is not in your PATH; add it: export PATH=\"$folder:\$PATH\"" ;;
  esac
  other=$(command -v coolops || true)
  if [ -n "$other" ] && [ "$other" != "$folder/coolops" ]; then
    echo "But coolops is $other in your PATH, another program: remove it, or put $folder before it"
  fi
}

main "$@"
