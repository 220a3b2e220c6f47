#!/bin/sh
# Makes what deploy/compose.yaml needs beside it: secrets/, with passwords and a key by chance, and .env. What is there already
# stays as it is, so it can be run again. Says what is yours to fill in.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets

# secret NAME VALUE: in a file of its own. Only root and you get into the folder; the container is somebody else, and reads
# the file that it is given.
secret() {
  if [ ! -s "secrets/$1" ]; then
    printf '%s' "$2" >"secrets/$1"
  fi
  chmod 0444 "secrets/$1"
}
by_chance() { od -An -N 24 -tx1 /dev/urandom | tr -d ' \n'; }

secret postgres_password "$(by_chance)"
secret coolops_password "$(by_chance)"
secret migrate_database_url "postgres://coolops_owner:$(cat secrets/postgres_password)@postgres/coolops"
secret database_url "postgres://coolops_login:$(cat secrets/coolops_password)@postgres/coolops"
secret master_key "$(head -c 32 /dev/urandom | base64 | tr -d '\n')"

# It is read in Postgres' container, by somebody else.
chmod 0644 login.sh
[ -f .env ] || : >.env
# A last line without its end would run into the next.
[ -z "$(tail -c 1 .env)" ] || echo >>.env
# setting NAME VALUE: a line of .env, unless there is one.
setting() { grep -q "^$1=" .env || echo "$1=$2" >>.env; }
[ -z "${DOCKER_SOCKET:-}" ] || setting DOCKER_SOCKET "$DOCKER_SOCKET"
socket=$(sed -n 's/^DOCKER_SOCKET=//p' .env | tail -n 1)
socket=${socket:-/var/run/docker.sock}
if [ -S "$socket" ]; then
  setting DOCKER_GROUP "$(stat -c %g "$socket")"
else
  echo "There is no $socket: is Docker there? Otherwise put DOCKER_GROUP, the number of the group that may use it, into deploy/.env." >&2
fi

todo=''
for name in slack_bot_token slack_signing_secret; do
  [ ! -s "secrets/$name" ] || chmod 0444 "secrets/$name"
  [ -s "secrets/$name" ] || todo="$todo
  printf %s '…' >deploy/secrets/$name && chmod 0444 deploy/secrets/$name"
done
grep -q '^COOLOPS_PUBLIC_URL=.' .env || todo="$todo
  echo COOLOPS_PUBLIC_URL=https://coolops.example.com >>deploy/.env"
if [ -n "$todo" ]; then
  echo "What is yours to fill in (the app's settings at api.slack.com have both values):$todo"
else
  echo 'All is there: docker compose -f deploy/compose.yaml up -d'
fi
echo 'Keep a copy of deploy/secrets/master_key elsewhere: without it secrets can not be read.'
