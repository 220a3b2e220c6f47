#!/bin/sh
# Gives a service of Amazon ECS a task definition with the build's image; see README.md beside it.
set -eu
image=ecs
. "$(dirname "$0")/../lib/steps.sh"
. "$(dirname "$0")/../lib/aws.sh"

of_build DOCKER_IMAGE
of_environment ECS_CLUSTER ECS_SERVICE
aws_variables
image_reference DOCKER_IMAGE
fits ECS_CLUSTER 255 'A-Za-z0-9_:/-' 'name of a cluster'
fits ECS_SERVICE 255 'A-Za-z0-9_-' 'name of a service'
optional ECS_CONTAINER
fits ECS_CONTAINER 255 'A-Za-z0-9_-' 'name of a container'
limit WAIT_SECONDS 600
limit POLL_SECONDS 5
yes_or_no ROLLBACK_ON_FAILURE
checked
aws_access

# service: what ECS says of the service; `told` reads it. The one is run by itself, so that it hears SIGTERM.
service() { aws_json "$work/service.json" ecs describe-services --cluster "$ECS_CLUSTER" --services "$ECS_SERVICE"; }
told() { jq -r --arg id "${2:-}" "$1" "$work/service.json"; }

# deploy ARN: has the service take a task definition. ECS calls that a deployment, and tells its id.
deploy() {
  aws_json "$work/updated.json" ecs update-service --cluster "$ECS_CLUSTER" --service "$ECS_SERVICE" --task-definition "$1" &&
    id=$(jq -r '[.service.deployments[]? | select(.status == "PRIMARY")][0].id // empty' "$work/updated.json") && [ -n "$id" ]
}

# settled: waits until nothing but that deployment runs, in the number that is wanted. 1 when it does not come to that, 2 when
# another one has taken its place.
settled() {
  until_then=$(($(date +%s) + WAIT_SECONDS))
  said=''
  while :; do
    how='unanswered 0 0 0'
    # shellcheck disable=SC2016
    ! service || how=$(told '.services[0] | .desiredCount as $wanted | .deployments as $all
      | ([$all[] | select(.id == $id and .status == "PRIMARY")][0]) as $own
      | if $own then "\($own.rolloutState // "-") \($own.runningCount) \($wanted) \($all | length)" else "replaced 0 0 0" end' "$id")
    # shellcheck disable=SC2086
    set -- $how
    [ "$how" = "$said" ] || [ "$1" = unanswered ] || [ "$1" = replaced ] || echo "$2 of $3 run, rollout $1"
    said=$how
    case $1 in
      COMPLETED) return 0 ;;
      FAILED) return 1 ;;
      replaced) return 2 ;;
      # Of a service that something else deploys ECS tells no state.
      -) [ "$2" -lt "$3" ] || [ "$4" -gt 1 ] || return 0 ;;
    esac
    [ "$(date +%s)" -lt "$until_then" ] || return 1
    run sleep "$POLL_SECONDS"
  done
}

step "Looking at what runs as $ECS_SERVICE on $ECS_CLUSTER"
service || fail "the service can't be read. Nothing was touched."
before=$(told '.services[0] | select(.status == "ACTIVE") | .taskDefinition // empty')
[ -n "$before" ] || fail "there is no active service $ECS_SERVICE on $ECS_CLUSTER. Nothing was touched."
aws_json "$work/before.json" ecs describe-task-definition --task-definition "$before" --include TAGS ||
  fail "its task definition can't be read. Nothing was touched."
names=$(jq -r '[.taskDefinition.containerDefinitions[].name] | join(", ")' "$work/before.json")
case $names in
  *', '*) container=${ECS_CONTAINER:-$ECS_SERVICE} ;;
  *) container=${ECS_CONTAINER:-$names} ;;
esac
# Of a task definition everything is taken over but what ECS itself writes.
if ! jq --arg name "$container" --arg image "$DOCKER_IMAGE" '
  if any(.taskDefinition.containerDefinitions[]; .name == $name) then . else error("none") end
  | (if (.tags // []) == [] then {} else {tags: .tags} end) + (.taskDefinition
    | del(.taskDefinitionArn, .revision, .status, .requiresAttributes, .compatibilities, .registeredAt, .registeredBy, .deregisteredAt)
    | (.containerDefinitions[] | select(.name == $name)).image = $image)' "$work/before.json" >"$work/after.json" 2>"$work/said"; then
  fail "its task definition has no container $container, but $names; name one with ECS_CONTAINER. Nothing was touched."
fi
ran=$(jq -r --arg name "$container" '.taskDefinition.containerDefinitions[] | select(.name == $name).image' "$work/before.json")
echo "${before##*/} ($container) runs $ran"

step "Registering a task definition with $DOCKER_IMAGE"
left='A task definition may have been registered; the service is as it was.'
aws_json "$work/registered.json" ecs register-task-definition --cli-input-json "file://$work/after.json" ||
  fail "ECS does not take the task definition. The service is as it was."
after=$(jq -r .taskDefinition.taskDefinitionArn "$work/registered.json")
echo "${after##*/}"

step "Updating $ECS_SERVICE"
left="The service may be on its way to ${after##*/} (it had ${before##*/})."
deploy "$after" || fail "the service was not updated, as far as can be told. $left"

step "Waiting for $ECS_SERVICE, $WAIT_SECONDS seconds at most"
outcome=0
settled || outcome=$?
if [ "$outcome" -eq 0 ]; then
  step 'What runs now'
  echo "$ECS_SERVICE ($container): $ran → $DOCKER_IMAGE"
  exit
fi
echo "--- What ECS says of $ECS_SERVICE" >&2
told '.services[0] | (.deployments[]? | .rolloutStateReason // empty), (.events[:5][]? | .message)' >&2
if aws_json "$work/stopped.json" ecs list-tasks --cluster "$ECS_CLUSTER" --service-name "$ECS_SERVICE" --desired-status STOPPED; then
  tasks=$(jq -r '(.taskArns // [])[:10][]' "$work/stopped.json")
  # shellcheck disable=SC2086
  [ -z "$tasks" ] || ! aws_json "$work/tasks.json" ecs describe-tasks --cluster "$ECS_CLUSTER" --tasks $tasks ||
    jq -r '.tasks[] | "\(.taskArn | split("/")[-1]): \(.stoppedReason // "-")", (.containers[]? | select(.reason or .exitCode) | "  \(.name): \(.reason // "") exit code \(.exitCode // "-")")' "$work/tasks.json" >&2
fi
if [ "$outcome" -eq 2 ]; then
  now=$(told '.services[0].taskDefinition')
  fail "the service has ${now##*/} by now: ECS has put it back, or somebody else has changed it meanwhile."
fi
[ -n "$ROLLBACK_ON_FAILURE" ] || fail "$ECS_SERVICE is not well with $DOCKER_IMAGE. It stays as it is (ROLLBACK_ON_FAILURE=true puts back what ran)."
echo '--- Putting back what ran' >&2
deploy "$before" || fail "$ECS_SERVICE is not well with $DOCKER_IMAGE, and ${before##*/} was not put back, as far as can be told."
settled >&2 || fail "$ECS_SERVICE is not well with $DOCKER_IMAGE; ${before##*/} was put back, and is not well either."
fail "$ECS_SERVICE is not well with $DOCKER_IMAGE. ${before##*/} was put back, and runs."
