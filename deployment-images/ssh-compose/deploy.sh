#!/bin/sh
# Tells Docker Compose on another machine, over SSH, which tag to run; see README.md beside it.
set -eu
image=ssh-compose
. "$(dirname "$0")/../lib/steps.sh"
. "$(dirname "$0")/../lib/ssh.sh"

of_build DOCKER_TAG
of_environment DEPLOY_HOST DEPLOY_HOST_KEY DEPLOY_KEY COMPOSE_FOLDER
fits DOCKER_TAG 128 'A-Za-z0-9._-' "tag of an image: letters, digits and . _ - are in one"
host_name DEPLOY_HOST
optional DEPLOY_USER deploy
fits DEPLOY_USER 32 'A-Za-z0-9._-' 'name of a login'
optional DEPLOY_PORT 22
fits DEPLOY_PORT 5 '0-9' 'number of a port'
folder COMPOSE_FOLDER
optional COMPOSE_VARIABLE DOCKER_TAG
fits COMPOSE_VARIABLE 100 'A-Za-z0-9_' 'name of a variable'
optional COMPOSE_SERVICES
fits COMPOSE_SERVICES 500 'A-Za-z0-9._, -' 'list of services'
limit SETTLE_SECONDS 5
health_variables
yes_or_no ROLLBACK_ON_FAILURE
ssh_variables
case ${DOCKER_TAG:-} in .*) problem "DOCKER_TAG is no tag of an image: none begins with '.'" ;; esac
checked
ssh_access

# Runs there what stands beside this script: it is the shell's input, and its arguments are checked, so that none of them
# holds a quote.
on_it() {
  run ssh -F none -i "$work/key" -p "$DEPLOY_PORT" -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=yes \
    -o UserKnownHostsFile="$work/known_hosts" -o HostKeyAlias=there -o ConnectTimeout=15 -o ServerAliveInterval=15 \
    "$DEPLOY_USER@$DEPLOY_HOST" "$@"
}
there() {
  on_it "sh -s -- '$1' '$COMPOSE_FOLDER' '$COMPOSE_VARIABLE' '$DOCKER_TAG' '$WAIT_SECONDS' '$SETTLE_SECONDS' '$ROLLBACK_ON_FAILURE' '$COMPOSE_SERVICES'" \
    <"$(dirname "$0")/there.sh"
}

step "Reaching $DEPLOY_HOST"
on_it true ||
  fail "$DEPLOY_HOST can't be reached, or is not the machine of DEPLOY_HOST_KEY, or does not take DEPLOY_KEY; ssh says which. Nothing was touched."
left="What was begun on $DEPLOY_HOST goes on there to its end."
code=0
there up || code=$?
case $code in
  0) ;;
  255) fail "the connection to $DEPLOY_HOST was lost. $left" ;;
  *) exit 1 ;;
esac
if ! healthy; then
  echo "--- What $DEPLOY_HOST says" >&2
  there explain >&2 || :
  [ -n "$ROLLBACK_ON_FAILURE" ] || fail "$(health_place) is not well with $DOCKER_TAG. It stays as it is (ROLLBACK_ON_FAILURE=true puts back what ran)."
  there back >&2 || fail "$(health_place) is not well with $DOCKER_TAG, and what ran before could not be put back, or is not well."
  fail "$(health_place) is not well with $DOCKER_TAG. What ran before was put back, and runs."
fi
