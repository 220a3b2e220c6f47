#!/bin/sh
# Plays a playbook of the image against an inventory, with values of the build; see README.md beside it.
set -eu
image=ansible
. "$(dirname "$0")/../lib/steps.sh"
. "$(dirname "$0")/../lib/ssh.sh"

of_environment PLAYBOOK_INVENTORY
optional PLAYBOOK /ansible/playbook.yml
folder PLAYBOOK
optional PLAYBOOK_ROLLBACK
folder PLAYBOOK_ROLLBACK
optional PLAYBOOK_LIMIT
fits PLAYBOOK_LIMIT 500 'A-Za-z0-9._:,-' 'list of machines and groups'
optional PLAYBOOK_VAULT_PASSWORD
optional VALUES_FROM_BUILD
from_build VALUES_FROM_BUILD
health_variables
yes_or_no ROLLBACK_ON_FAILURE
ssh_variables
[ -f "$PLAYBOOK" ] || problem 'PLAYBOOK is no file of this image'
case $PLAYBOOK,$PLAYBOOK_ROLLBACK in
  /*,/* | /*,) ;;
  *) problem 'PLAYBOOK and PLAYBOOK_ROLLBACK begin with /' ;;
esac
case $PLAYBOOK_INVENTORY in
  */*[[:blank:]]* | *"
"*) ;;
  /*) [ -e "$PLAYBOOK_INVENTORY" ] || problem 'PLAYBOOK_INVENTORY is no file and no folder of this image' ;;
esac
if [ -n "$ROLLBACK_ON_FAILURE" ]; then
  [ -n "$PLAYBOOK_ROLLBACK" ] || problem 'ROLLBACK_ON_FAILURE needs PLAYBOOK_ROLLBACK: what is the way back?'
  [ -z "$PLAYBOOK_ROLLBACK" ] || [ -f "$PLAYBOOK_ROLLBACK" ] || problem 'PLAYBOOK_ROLLBACK is no file of this image'
fi
checked

ssh_access
# Here the machines keep their names.
printf '%s\n' "$DEPLOY_HOST_KEY" >"$work/known_hosts"
# Ansible wants to be told that text is UTF-8.
LC_ALL=C.UTF-8
HOME=$work
ANSIBLE_HOME=$work/ansible
ANSIBLE_LOCAL_TEMP=$work/tmp
ANSIBLE_RETRY_FILES_ENABLED=0
ANSIBLE_HOST_KEY_CHECKING=1
ANSIBLE_SSH_COMMON_ARGS="-F none -o UserKnownHostsFile=$work/known_hosts -o StrictHostKeyChecking=yes -o BatchMode=yes -o ConnectTimeout=15"
# A socket's path has room for about a hundred characters.
ANSIBLE_SSH_CONTROL_PATH_DIR=$work/cp
export HOME ANSIBLE_HOME ANSIBLE_LOCAL_TEMP ANSIBLE_RETRY_FILES_ENABLED ANSIBLE_HOST_KEY_CHECKING ANSIBLE_SSH_COMMON_ARGS ANSIBLE_SSH_CONTROL_PATH_DIR
set --
if [ -e "$PLAYBOOK_INVENTORY" ]; then
  set -- "$@" --inventory "$PLAYBOOK_INVENTORY"
else
  printf '%s\n' "$PLAYBOOK_INVENTORY" >"$work/inventory"
  set -- "$@" --inventory "$work/inventory"
fi
[ -z "$DEPLOY_KEY" ] || set -- "$@" --private-key "$work/key"
[ -z "$PLAYBOOK_LIMIT" ] || set -- "$@" --limit "$PLAYBOOK_LIMIT"
if [ -n "$PLAYBOOK_VAULT_PASSWORD" ]; then
  printf '%s\n' "$PLAYBOOK_VAULT_PASSWORD" >"$work/vault"
  set -- "$@" --vault-password-file "$work/vault"
fi
# Values of the build are data: nothing in them can be a template by now.
json_of_build VALUES_FROM_BUILD >"$work/values.json"
set -- "$@" --extra-vars "@$work/values.json"

step "Looking at ${PLAYBOOK##*/}"
# An ansible.cfg beside it counts.
cd "$(dirname "$PLAYBOOK")" || fail "its folder can't be entered. Nothing was touched."
run ansible-playbook "$@" --list-hosts "$PLAYBOOK" >"$work/hosts" || {
  cat "$work/hosts"
  fail 'Ansible can not read the playbook. Nothing was touched.'
}
cat "$work/hosts"
grep -q 'hosts ([1-9]' "$work/hosts" || fail 'no machine of the inventory is one of the playbook. Nothing was touched.'
step "Playing ${PLAYBOOK##*/}"
left='The playbook was played as far as the log says.'
why=''
run ansible-playbook "$@" "$PLAYBOOK" || why='the playbook failed; Ansible says above where'
[ -n "$why" ] || healthy || why="$(health_place) is not well"
if [ -z "$why" ]; then
  step 'Done'
  printf '%s is there.\n' "${COOLOPS_BUILD_NAME:-The build}"
  exit
fi
[ -n "$ROLLBACK_ON_FAILURE" ] || fail "$why. It stays as it is."
step "Playing ${PLAYBOOK_ROLLBACK##*/}"
run ansible-playbook "$@" "$PLAYBOOK_ROLLBACK" || fail "$why, and the way back failed too."
fail "$why. The way back was played."
