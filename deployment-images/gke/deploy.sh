#!/bin/sh
# Sets an image on Deployments in Google Kubernetes Engine; see README.md beside it.
set -eu
image=gke
. "$(dirname "$0")/../lib/steps.sh"
. "$(dirname "$0")/../lib/kubernetes.sh"

of_build DOCKER_IMAGE
of_environment GCLOUD_KEY_JSON GCLOUD_PROJECT_ID 'GCLOUD_COMPUTE_ZONE|GCLOUD_COMPUTE_REGION' GCLOUD_CLUSTER_NAME KUBERNETES_DEPLOYMENTS
optional KUBERNETES_NAMESPACE default
image_reference DOCKER_IMAGE
fits GCLOUD_PROJECT_ID 200 'a-z0-9.:-' 'project of Google Cloud'
fits GCLOUD_COMPUTE_ZONE 60 'a-z0-9-' 'zone of Google Cloud'
fits GCLOUD_COMPUTE_REGION 60 'a-z0-9-' 'region of Google Cloud'
fits GCLOUD_CLUSTER_NAME 60 'a-z0-9-' 'name of a cluster'
kubernetes_name KUBERNETES_NAMESPACE
limit WAIT_SECONDS 600
yes_or_no ROLLBACK_ON_FAILURE
workloads KUBERNETES_DEPLOYMENTS deployment
text GCLOUD_KEY_JSON '{' 'a key in JSON'
if [ -n "$GCLOUD_KEY_JSON" ]; then
  kind=$(printf '%s' "$GCLOUD_KEY_JSON" | tr -d '\n' | sed -n 's/.*"type"[[:blank:]]*:[[:blank:]]*"\([a-z_]*\)".*/\1/p')
  case $kind,$GCLOUD_KEY_JSON in
    service_account,*private_key*) ;;
    *) problem "GCLOUD_KEY_JSON is no key of a service account, but ${kind:-something else}" ;;
  esac
fi
checked

step "Signing in to $GCLOUD_PROJECT_ID"
# What gcloud remembers goes with the script.
CLOUDSDK_CONFIG=$work/gcloud
CLOUDSDK_CORE_DISABLE_PROMPTS=1
KUBECONFIG=$work/kubeconfig
HOME=$work
export CLOUDSDK_CONFIG CLOUDSDK_CORE_DISABLE_PROMPTS KUBECONFIG HOME
mkdir "$CLOUDSDK_CONFIG"
printf '%s\n' "$GCLOUD_KEY_JSON" >"$work/key.json"
run gcloud auth activate-service-account --key-file "$work/key.json" ||
  fail 'Google does not take GCLOUD_KEY_JSON. Nothing was touched.'
if [ -n "${GCLOUD_COMPUTE_ZONE:-}" ]; then
  set -- --zone "$GCLOUD_COMPUTE_ZONE"
else
  set -- --region "$GCLOUD_COMPUTE_REGION"
fi
run gcloud container clusters get-credentials "$GCLOUD_CLUSTER_NAME" --project "$GCLOUD_PROJECT_ID" "$@" ||
  fail "the cluster $GCLOUD_CLUSTER_NAME can't be reached. Nothing was touched."
set_images "$DOCKER_IMAGE"
