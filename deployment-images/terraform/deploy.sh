#!/bin/sh
# Applies a plan of Terraform, a saved one or a fresh one with values of the build; see README.md beside it.
set -eu
image=terraform
. "$(dirname "$0")/../lib/steps.sh"

optional TERRAFORM_FOLDER /terraform
folder TERRAFORM_FOLDER
optional TERRAFORM_PLAN
folder TERRAFORM_PLAN
optional TERRAFORM_WORKSPACE
fits TERRAFORM_WORKSPACE 90 'A-Za-z0-9._-' 'name of a workspace'
optional TERRAFORM_BACKEND
optional VALUES_FROM_BUILD
from_build VALUES_FROM_BUILD
limit TERRAFORM_LOCK_SECONDS 300
health_variables
yes_or_no ROLLBACK_ON_FAILURE
if [ ! -d "$TERRAFORM_FOLDER" ]; then
  problem 'TERRAFORM_FOLDER is no folder of this image'
elif [ ! -f "$TERRAFORM_FOLDER/.terraform.lock.hcl" ] && [ ! -w "$TERRAFORM_FOLDER" ]; then
  problem 'TERRAFORM_FOLDER has no .terraform.lock.hcl, and Terraform may not write one: keep it in your repository'
fi
if [ -n "$TERRAFORM_PLAN" ]; then
  case $TERRAFORM_PLAN in
    /*) [ -f "$TERRAFORM_PLAN" ] || problem 'TERRAFORM_PLAN is no file of this image' ;;
    *) problem 'TERRAFORM_PLAN does not begin with /' ;;
  esac
  [ -z "$VALUES_FROM_BUILD" ] || problem 'TERRAFORM_PLAN has its values in it: VALUES_FROM_BUILD can not be set too'
  [ -z "$ROLLBACK_ON_FAILURE" ] || problem 'TERRAFORM_PLAN has no way back: ROLLBACK_ON_FAILURE can not be set too'
fi
checked

# Providers are large, and are run.
TF_DATA_DIR=$scratch/data
TF_IN_AUTOMATION=1
TF_INPUT=0
HOME=$work
export TF_DATA_DIR TF_IN_AUTOMATION TF_INPUT HOME
tf() { run terraform -chdir="$TERRAFORM_FOLDER" "$@"; }
json_of_build VALUES_FROM_BUILD >"$work/values.tfvars.json"

step 'Preparing'
set -- init -no-color
[ ! -f "$TERRAFORM_FOLDER/.terraform.lock.hcl" ] || set -- "$@" -lockfile=readonly
if [ -n "$TERRAFORM_BACKEND" ]; then
  # Lines such as bucket = "state", the credentials of the state among them: never an argument.
  printf '%s\n' "$TERRAFORM_BACKEND" >"$work/backend.hcl"
  set -- "$@" -backend-config="$work/backend.hcl"
fi
tf "$@" || fail 'Terraform could not be prepared. Nothing was touched.'
if [ -n "$TERRAFORM_WORKSPACE" ]; then
  tf workspace select -no-color "$TERRAFORM_WORKSPACE" || fail "there is no workspace $TERRAFORM_WORKSPACE. Nothing was touched."
fi

# values FILE: the outputs that are called like the values of the build, as an object of JSON.
values() {
  tf output -no-color -json >"$work/outputs" || return 1
  keys=$(parts "$VALUES_FROM_BUILD" | sed 's/=.*//' | tr '\n' ' ')
  jq --arg keys "$keys" '. as $all | [$keys | split(" ")[] | select(. != "" and $all[.] != null) | {key: ., value: $all[.].value}] | from_entries' \
    "$work/outputs" >"$1"
}
values "$work/before.json" || fail 'the state can not be read. Nothing was touched.'
cp "$work/before.json" "$work/before.tfvars.json"
# Of what is sensitive only the names are told.
told() {
  jq -r --slurpfile chosen "$1" 'to_entries[] | .key as $key | select($chosen[0] | has($key))
    | "\(.key): \(if .value.sensitive then "(sensitive)" else .value.value end)"' "$work/outputs"
}
told "$work/before.json"

if [ -z "$TERRAFORM_PLAN" ]; then
  step 'Planning'
  plan=$scratch/plan
  code=0
  tf plan -no-color -detailed-exitcode -lock-timeout="${TERRAFORM_LOCK_SECONDS}s" -out "$plan" -var-file "$work/values.tfvars.json" || code=$?
  case $code in
    0) echo 'There is nothing to change.' && plan='' ;;
    2) ;;
    *) fail 'Terraform has no plan. Nothing was touched.' ;;
  esac
else
  plan=$TERRAFORM_PLAN
fi

well=yes
if [ -n "$plan" ]; then
  step 'Applying the plan'
  left='The plan was applied as far as the log says; Terraform has let go of its lock.'
  tf apply -no-color -lock-timeout="${TERRAFORM_LOCK_SECONDS}s" "$plan" || well='' why='the plan was not applied as a whole; Terraform says above how far it came'
fi
if [ -n "$well" ] && ! healthy; then
  well='' why="$(health_place) is not well"
fi
if [ -n "$well" ]; then
  step 'What is there now'
  values "$work/after.json" || fail 'the plan was applied, and the state can not be read.'
  told "$work/after.json"
  exit
fi
[ -n "$ROLLBACK_ON_FAILURE" ] || fail "$why. It stays as it is."
missing=$(parts "$VALUES_FROM_BUILD" | sed 's/=.*//' | while read -r key; do
  jq -e --arg key "$key" 'has($key)' "$work/before.json" >"$work/has" || printf ' %s' "$key"
done)
if [ -z "$VALUES_FROM_BUILD" ] || [ -n "$missing" ]; then
  fail "$why, and there is no way back: the state has no output that is called like each value of the build:${missing:- none is named}."
fi
step 'Applying the values of before'
tf apply -no-color -auto-approve -lock-timeout="${TERRAFORM_LOCK_SECONDS}s" -var-file "$work/before.tfvars.json" ||
  fail "$why, and the values of before could not be applied."
fail "$why. The values of before were applied again."
