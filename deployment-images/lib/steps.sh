# shellcheck shell=sh disable=SC2154
# What the entry points of all deployment images share: checks before anything is touched, steps in the log, SIGTERM.
# Sourced by them; `image` is set by then, and is what their messages begin with.
#
# A param comes from whoever may announce a build. So a value reaches a command only when it was checked here, as an
# argument or in a file of its own, and is never a part of a command's text. Keys are in files that go with the script, in
# memory where there is room for them; nothing prints them, and no argument holds one.

LC_ALL=C
export LC_ALL
umask 077
unset CDPATH
# No value is ever the pattern of a file's name.
set -f

# What a stop at this moment leaves behind; the entry points say more as they go on.
left='Nothing was touched.'
stopped=''
child=''
problems=''

# Two folders that go with the script: `work` for keys, in memory where there is such a place; `scratch` for all that may be
# large or has to be run (in a container /dev/shm has 64 MB, and nothing there can be run).
work=''
for place in "${TMPDIR:-}" /dev/shm /tmp; do
  if [ -d "$place" ] && [ -w "$place" ]; then
    work=$(mktemp -d "$place/coolops.XXXXXX") && break
  fi
done
[ -n "$work" ] || { echo "$image: there is no folder for keys: neither /dev/shm nor /tmp can be written to" >&2; exit 1; }
scratch=$(mktemp -d "${TMPDIR:-/tmp}/coolops.XXXXXX" 2>/dev/null) || scratch=$(mktemp -d "$work/scratch.XXXXXX")
trap 'rm -rf "$work" "$scratch"' EXIT
TMPDIR=$scratch
export TMPDIR
trap 'told_to_stop 143' TERM
trap 'told_to_stop 130' INT HUP

told_to_stop() {
  stopped=$1
  [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || :
}

leave() {
  echo "$image: stopped. $left" >&2
  exit "$stopped"
}

# step TITLE: what follows in the log folds under it.
step() {
  [ -z "$stopped" ] || leave
  echo "--- $*"
}

fail() {
  echo "$image: $*" >&2
  exit 1
}

# run COMMAND…: a program whose end is waited for, which hears SIGTERM and is given the time that it needs then.
run() {
  [ -z "$stopped" ] || leave
  # In the background a program has no input, but for what is handed to it.
  { "$@" <&3 3<&- & } 3<&0
  child=$!
  # The signal may have come just before it was known whom to tell.
  [ -z "$stopped" ] || kill -TERM "$child" 2>/dev/null || :
  while :; do
    code=0
    wait "$child" || code=$?
    # A signal ends the waiting, and not what is waited for.
    kill -0 "$child" 2>/dev/null || break
  done
  child=''
  [ -z "$stopped" ] || leave
  return "$code"
}

# The value of a variable, without the carriage returns and the ends of lines that editors leave at its lines' ends.
value_of() {
  eval "printf '%s\\n' \"\${$1:-}\"" | sed "s/$return\$//"
}
return=$(printf '\r')

problem() {
  case $problems in
    *"$*"*) return ;;
  esac
  problems="$problems
  $*"
}

# of_build NAME…, of_environment NAME…: each has to be there; NAME|OTHER is one of two.
of_build() { require 'the build names it: -p' read_value "$@"; }
of_environment() { require 'coolops environment set PROJECT ENVIRONMENT' optional "$@"; }
require() {
  how=$1
  reads=$2
  shift 2
  for names in "$@"; do
    found=''
    for name in $(echo "$names" | tr '|' ' '); do
      "$reads" "$name"
      eval "[ -z \"\$$name\" ]" || found=$name
    done
    [ -n "$found" ] || problem "$(echo "$names" | sed 's/|/ or /g') is not set ($how ${names%%|*}=…)"
  done
}

# optional NAME [DEFAULT]: a variable of the environment. A build does not bring it: whoever may announce one would say where
# things go, and which keys are believed. coolops tells what a build brings that no operator has named.
optional() {
  case " ${COOLOPS_BUILD_PARAMS:-} " in
    *" $1 "*) problem "$1 is a variable of the environment, and this build brings it (coolops environment set, or: coolops project params PROJECT $1 …)" ;;
  esac
  read_value "$@"
}

# read_value NAME [DEFAULT]
read_value() {
  eval "$1=\$(value_of $1)"
  eval "[ -n \"\$$1\" ] || $1=\${2:-}"
}

# fits NAME LONGEST CHARACTERS WHAT: checks a value of one line; none is none. No value begins like an option.
fits() {
  eval "value=\${$1:-}"
  # shellcheck disable=SC2295
  case $value in
    '') return ;;
    -* | *[!$3]*) problem "$1 is no $4" ;;
    *) [ "${#value}" -le "$2" ] || problem "$1 has ${#value} characters, and a $4 at most $2" ;;
  esac
}

# The kinds of values there are in more than one image.
image_reference() { fits "$1" 500 'A-Za-z0-9._/:@-' "name of an image: letters, digits and . _ / : @ - are in one"; }
kubernetes_name() { fits "$1" 253 'a-z0-9.-' "name in Kubernetes: small letters, digits, '.' and '-' are in one"; }
host_name() { fits "$1" 253 'A-Za-z0-9.:-' "name or address of a machine"; }
folder() {
  fits "$1" 500 'A-Za-z0-9._/~-' "path: letters, digits and . _ / ~ - are in one here"
  eval "value=/\${$1:-}/"
  case $value in
    */../*) problem "$1 leads out of its place: leave .. out" ;;
  esac
}
# What may stand in a value that other languages read (templates, expressions), and means nothing in any of them.
plain() { fits "$1" 1000 'A-Za-z0-9._/:@+=,~ -' "plain word: letters, digits, blanks and . _ / : @ + = , ~ - may be in it"; }

# text NAME HOLDS WHAT: a text of several lines, or the base64 of it; both ways people keep keys.
text() {
  optional "$1"
  eval "value=\$$1"
  case $value in
    '' | *"$2"*) return ;;
  esac
  value=$(printf '%s' "$value" | tr -d ' \t\n' | base64 -d 2>/dev/null | tr -d '\000\r') || value=''
  case $value in
    *"$2"*) eval "$1=\$value" ;;
    *) problem "$1 is neither $3 nor the base64 of one" && eval "$1=''" ;;
  esac
}

# yes_or_no NAME
yes_or_no() {
  optional "$1"
  eval "value=\$$1"
  case $value in
    true | yes | 1) eval "$1=yes" ;;
    '' | false | no | 0) eval "$1=''" ;;
    *) problem "$1 is neither true nor false" ;;
  esac
}

# limit NAME DEFAULT: a number of seconds.
limit() {
  optional "$1" "$2"
  eval "value=\$$1"
  case $value in
    0* | *[!0-9]* | ??????*) problem "$1 is no number of seconds, 1 to 86400" ;;
    *)
      if [ "$value" -lt 1 ] || [ "$value" -gt 86400 ]; then
        problem "$1 is no number of seconds, 1 to 86400"
      fi
      ;;
  esac
}

# The parts of a comma separated list, each on a line of its own.
parts() {
  printf '%s\n' "$1" | tr ',' '\n' | sed 's/^[[:blank:]]*//; s/[[:blank:]]*$//; /^$/d'
}

# from_build NAME: checks a list of KEY=PARAM, in which the environment says what becomes of which params of the build, and
# the params that it names. Their names are capitals: small ones are the scripts' own.
from_build() {
  fits "$1" 5000 'A-Za-z0-9._, =-' "list of KEY=PARAM, such as tag=DOCKER_TAG"
  eval "list=\${$1:-}"
  for entry in $(parts "$list"); do
    param=${entry#*=}
    case $entry in
      *=*=* | =* | *= | *=[!A-Z]* | *=*[!A-Z0-9_]*) problem "$1 is no list of KEY=PARAM, such as tag=DOCKER_TAG; a param has capitals" && return ;;
      *=PATH | *=HOME | *=TMPDIR | *=LC_ALL | *=IFS) problem "$1: ${entry#*=} is no param of a build" && return ;;
      *=*) ;;
      *) problem "$1 is no list of KEY=PARAM, such as tag=DOCKER_TAG" && return ;;
    esac
    of_build "$param"
    plain "$param"
  done
}

# json_of_build NAME: the same values, checked by then, as an object of JSON.
json_of_build() {
  eval "list=\${$1:-}"
  between=''
  printf '{'
  for entry in $(parts "$list"); do
    eval "value=\$${entry#*=}"
    printf '%s"%s":"%s"' "$between" "${entry%%=*}" "$value"
    between=','
  done
  printf '}\n'
}

# healthy: waits until HEALTH_URL answers with success, where one is set.
health_variables() {
  limit WAIT_SECONDS 600
  optional HEALTH_URL
  fits HEALTH_URL 2000 'A-Za-z0-9._/:@+=,~?&%-' 'address'
  case $HEALTH_URL in
    '' | http://* | https://*) ;;
    *) problem 'HEALTH_URL begins with neither https:// nor http://' ;;
  esac
}
# What of it may be told: not its query, which may be a key.
health_place() { printf '%s' "${HEALTH_URL%%\?*}"; }
healthy() {
  [ -n "$HEALTH_URL" ] || return 0
  step "Waiting for $(health_place), $WAIT_SECONDS seconds at most"
  printf 'url = "%s"\n' "$HEALTH_URL" >"$work/health"
  until_then=$(($(date +%s) + WAIT_SECONDS))
  said=''
  while :; do
    answer=000
    if run curl -q -sS -o /dev/null -w '%{http_code}' --max-time 10 -K "$work/health" >"$work/answer" 2>"$work/said"; then
      answer=$(cat "$work/answer")
    fi
    case $answer in
      2??) echo 'It is well.' && return 0 ;;
      000) now=$(tail -n 1 "$work/said") ;;
      *) now="it answers $answer" ;;
    esac
    # What it says each time is said once.
    [ "$now" = "$said" ] || printf '%s\n' "$now" >&2
    said=$now
    [ "$(date +%s)" -lt "$until_then" ] || return 1
    run sleep 2
  done
}

# Ends it when anything is wrong, before anything is touched.
checked() {
  [ -z "$problems" ] || fail "nothing was touched:$problems"
}
