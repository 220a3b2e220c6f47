#!/bin/sh
# What this project's deployments do. DOCKER_TAG is a param of the build, DEPLOY_HOST a variable and DEPLOY_KEY a secret of the
# environment; COOLOPS_… come from coolops.
set -eu
echo "Deploying $COOLOPS_BUILD_NAME to $COOLOPS_ENVIRONMENT, as $COOLOPS_DEPLOYER_NAME asked"
: "${DOCKER_TAG:?the build has no param DOCKER_TAG}" "${DEPLOY_HOST:?}" "${DEPLOY_KEY:?}"
key=$(mktemp)
trap 'rm -f "$key"' EXIT
printf '%s\n' "$DEPLOY_KEY" >"$key"
ssh -i "$key" -o StrictHostKeyChecking=accept-new "deploy@$DEPLOY_HOST" "update-the-service '$DOCKER_TAG'"
