# shellcheck shell=sh
# What deploy.sh has run on the machine itself: a tag into .env, pull, up, wait. It is that shell's whole input.
set -eu
what=$1 folder=$2 variable=$3 tag=$4 limit=$5 settle=$6 rollback=$7
services=$(echo "$8" | tr ',' ' ')
fail() {
  echo "$*" >&2
  exit 1
}
case $folder in \~/*) folder=$HOME/${folder#??} ;; esac
cd "$folder" || fail "there is no folder $folder on this machine. Nothing was touched."
# The shell's input is this script: no program may read it.
compose() {
  if docker compose version >/dev/null 2>&1 </dev/null; then
    docker compose "$@" </dev/null
  else
    docker-compose "$@" </dev/null
  fi
}

# Writes a tag into .env and leaves everything else there as it is; nobody ever reads half of it.
write() {
  # It may hold passwords, and may be a link to where it really is.
  real=$(readlink -f .env 2>/dev/null) || real=.env
  (
    umask 077
    { [ ! -f .env ] || grep -v "^$variable=" .env || :; } >"$real.coolops"
    [ "$1" = '-' ] || echo "$variable=$1" >>"$real.coolops"
  )
  [ ! -f .env ] || chmod --reference=.env "$real.coolops" 2>/dev/null || :
  mv -f "$real.coolops" "$real"
}

# The containers of the services: name, state, health, exit code, restarts. What `compose run` left behind is none of them,
# nor is what compose.yaml does not name any more.
states() {
  # shellcheck disable=SC2086
  ids=$(compose ps -a -q $services)
  [ -n "$ids" ] || return 0
  # shellcheck disable=SC2086
  docker inspect -f '{{.Name}} {{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}-{{end}} {{.State.ExitCode}} {{.RestartCount}} {{index .Config.Labels "com.docker.compose.oneoff"}} {{index .Config.Labels "com.docker.compose.service"}}' $ids </dev/null |
    awk -v known="$(compose config --services | tr '\n' ' ')" '
      BEGIN { n = split(known, all, " "); for (i = 1; i <= n; i++) is_known[all[i]] = 1 }
      $6 == "True" || (NF >= 7 && n && !($7 in is_known)) { next }
      { sub(/^\//, "", $1); print $1, $2, $3, $4, $5 }'
}

# Waits until all run, those with a health check healthily, the others for a while without a restart; what has ended with
# success was meant to end.
well() {
  began=$(date +%s)
  steady=''
  said=''
  while :; do
    now=$(states)
    [ "$now" = "$said" ] || { echo "$now" && steady=$(date +%s); }
    said=$now
    case $(echo "$now" | awk '
      NF < 5 { next }
      { any = 1 }
      $2 == "running" && $3 == "healthy" { runs = 1; next }
      $2 == "running" && $3 == "-" { runs = 1; waits = 1; next }
      $2 == "exited" && $4 == 0 { next }
      $2 == "exited" || $2 == "dead" || $3 == "unhealthy" { bad = 1 }
      { pending = 1 }
      END { print !any || bad ? "bad" : pending ? "pending" : !runs ? "bad" : waits ? "settling" : "well" }') in
      well) return 0 ;;
      bad) return 1 ;;
      settling) [ $(($(date +%s) - steady)) -lt "$settle" ] || return 0 ;;
    esac
    [ $(($(date +%s) - began)) -lt "$limit" ] || return 1
    sleep 1
  done
}

explain() {
  states
  # shellcheck disable=SC2086
  compose logs --tail=20 $services
}

back() {
  [ -f .env.before-coolops ] || fail "it is not known what ran before."
  write "$(cat .env.before-coolops)"
  # shellcheck disable=SC2086
  compose up -d $services && well
}

# One deployment at a time: one whose connection was lost still comes to its end here.
alone() {
  if ! mkdir .coolops.lock 2>/dev/null; then
    other=$(cat .coolops.lock/pid 2>/dev/null) || other=''
    if [ -n "$other" ] && kill -0 "$other" 2>/dev/null; then
      fail "another deployment still goes on in $folder on this machine. Nothing was touched by this one."
    fi
  fi
  # Told by who began: this shell's number is not that of its parts.
  sh -c 'echo $PPID' >.coolops.lock/pid
  trap 'rm -rf .coolops.lock' EXIT
}

up() {
  [ -f compose.yaml ] || [ -f compose.yml ] || [ -f docker-compose.yaml ] || [ -f docker-compose.yml ] ||
    fail "there is no compose.yaml in $folder. Nothing was touched."
  alone
  before=$(sed -n "s/^$variable=//p" .env 2>/dev/null | tail -n 1)
  echo "$folder runs ${before:-nothing that is known of}"
  echo "${before:--}" >.env.before-coolops

  echo "--- Pulling $tag"
  write "$tag"
  # shellcheck disable=SC2086
  if ! compose pull $services; then
    write "${before:--}"
    fail "$tag can't be pulled. What runs was not touched."
  fi
  echo "--- Starting $tag"
  # shellcheck disable=SC2086
  if compose up -d $services && echo "--- Waiting until it is well, $limit seconds at most" && well; then
    echo "--- What runs now"
    echo "$folder: ${before:-nothing} → $tag"
    return
  fi
  echo "--- What Docker says" >&2
  explain >&2 || :
  [ -n "$rollback" ] || fail "$tag is not well. It stays as it is (ROLLBACK_ON_FAILURE=true puts back what ran)."
  [ -n "$before" ] || fail "$tag is not well, and nothing that is known of ran before."
  echo "--- Putting back $before" >&2
  back >&2 || fail "$tag is not well; $before was put back, and is not well either."
  fail "$tag is not well. $before was put back, and runs."
}

# What is begun here comes to its end, whatever becomes of the connection: it writes to files, and those who follow read them.
told=$(mktemp -d)
: >"$told/out"
: >"$told/err"
trap '' HUP
{
  case $what in
    up) up ;;
    back) alone && back ;;
    explain) explain ;;
  esac
} >"$told/out" 2>"$told/err" &
worker=$!
out=0
err=0
# since FILE BYTES: what stands behind them.
since() { tail -c "+$(($2 + 1))" "$1" | head -c "$(($3 - $2))"; }
follow() {
  now=$(wc -c <"$told/out")
  since "$told/out" "$out" "$now" && out=$now
  now=$(wc -c <"$told/err")
  since "$told/err" "$err" "$now" >&2 && err=$now
}
while kill -0 "$worker" 2>/dev/null; do
  follow
  sleep 0.3 2>/dev/null || sleep 1
done
code=0
wait "$worker" || code=$?
follow
rm -rf "$told"
exit "$code"
