#!/bin/sh
# What this project's deployments do: tell a service on another machine, over SSH, which version to run.
#
# Of the build:        DOCKER_TAG
# Of the environment:  DEPLOY_HOST, DEPLOY_HOST_KEY (a line of known_hosts: ssh-keyscan HOST, compared with the machine's own),
#                      DEPLOY_KEY (a secret: the private key)
# Of coolops:          COOLOPS_BUILD_NAME and others
#
# A param comes from whoever may announce a build, so nothing of it reaches a shell on any machine that is not checked here.
set -eu

fail() {
  echo "deploy: $*" >&2
  exit 1
}

# Everything that is missing is told at once, before anything is touched.
missing=''
for name in DOCKER_TAG DEPLOY_HOST DEPLOY_HOST_KEY DEPLOY_KEY; do
  eval "value=\${$name:-}"
  [ -n "$value" ] || missing="$missing $name"
done
[ -z "$missing" ] || fail "not set:$missing (coolops environment set, or -p of the build)"

case $DOCKER_TAG in
  *[!A-Za-z0-9._-]* | [.-]*) fail "DOCKER_TAG is no tag of an image: letters, digits, '.', '_' and '-' are" ;;
esac
[ "${#DOCKER_TAG}" -le 128 ] || fail "DOCKER_TAG is longer than a tag can be"
case $DEPLOY_HOST in
  *[!A-Za-z0-9.:-]* | -*) fail "DEPLOY_HOST is no name or address of a machine" ;;
esac

umask 077
work=$(mktemp -d)
ssh=''
trap 'rm -rf "$work"' EXIT
# Told to stop, it ends what it has begun, and leaves no key behind.
trap '[ -z "$ssh" ] || kill "$ssh" 2>/dev/null; exit 143' TERM
trap '[ -z "$ssh" ] || kill "$ssh" 2>/dev/null; exit 130' INT
# Editors and Windows leave carriage returns; a key has none.
printf '%s\n' "$DEPLOY_KEY" | tr -d '\r' >"$work/key"
printf '%s\n' "$DEPLOY_HOST_KEY" | tr -d '\r' >"$work/known_hosts"

echo "--- Deploying ${COOLOPS_BUILD_NAME:-$DOCKER_TAG} to ${COOLOPS_ENVIRONMENT:-$DEPLOY_HOST}"
# In the background, so that SIGTERM is heard while it goes on.
ssh -i "$work/key" -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=yes \
  -o UserKnownHostsFile="$work/known_hosts" "deploy@$DEPLOY_HOST" "update-the-service '$DOCKER_TAG'" &
ssh=$!
wait "$ssh"
echo "--- Deployed"
