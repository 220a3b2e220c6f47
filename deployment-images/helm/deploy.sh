#!/bin/sh
# Installs or upgrades a release of a Helm chart with values of the build; see README.md beside it.
set -eu
image=helm
. "$(dirname "$0")/../lib/steps.sh"
. "$(dirname "$0")/../lib/kubernetes.sh"

of_environment HELM_RELEASE HELM_CHART VALUES_FROM_BUILD
cluster_variables
fits HELM_RELEASE 53 'a-z0-9-' 'name of a release'
fits HELM_CHART 500 'A-Za-z0-9._/:@-' 'chart: a folder of this image, oci://… or https://…'
read_value HELM_CHART_VERSION
fits HELM_CHART_VERSION 100 'A-Za-z0-9.+_-' 'version of a chart'
optional HELM_VALUES
from_build VALUES_FROM_BUILD
case ${HELM_CHART:-} in
  '' | oci://* | https://*) ;;
  *) [ -f "$HELM_CHART/Chart.yaml" ] || problem 'HELM_CHART is no chart in this image, and neither oci://… nor https://…' ;;
esac
checked
cluster_access

# Each value of the build in a file that is taken as it is: commas, braces and types mean nothing.
set -- upgrade "$HELM_RELEASE" "$HELM_CHART" --install --namespace "$KUBERNETES_NAMESPACE" --wait --timeout "${WAIT_SECONDS}s"
[ -z "$HELM_CHART_VERSION" ] || set -- "$@" --version "$HELM_CHART_VERSION"
[ -z "$ROLLBACK_ON_FAILURE" ] || set -- "$@" --atomic
if [ -n "$HELM_VALUES" ]; then
  printf '%s\n' "$HELM_VALUES" >"$work/values.yaml"
  set -- "$@" --values "$work/values.yaml"
fi
for entry in $(parts "$VALUES_FROM_BUILD"); do
  key=${entry%%=*}
  eval "printf '%s' \"\$${entry#*=}\"" >"$work/value-$key"
  set -- "$@" --set-file "$key=$work/value-$key"
done

in_release() { run helm "$@" "$HELM_RELEASE" --namespace "$KUBERNETES_NAMESPACE"; }
step "Looking at what $HELM_RELEASE is in $KUBERNETES_NAMESPACE"
if ! in_release history --max 5 2>"$work/said"; then
  cat "$work/said" >&2
  grep -q 'release: not found' "$work/said" || fail 'the cluster can not be asked for it. Nothing was touched.'
  echo "$HELM_RELEASE is not there yet."
fi
step "Upgrading $HELM_RELEASE, $WAIT_SECONDS seconds at most"
left="The release $HELM_RELEASE may be half upgraded: helm history $HELM_RELEASE -n $KUBERNETES_NAMESPACE says so."
if ! run helm "$@"; then
  echo "--- What Kubernetes says" >&2
  in_namespace get events --field-selector type=Warning --sort-by=.metadata.creationTimestamp >"$work/events" || :
  tail -n 20 "$work/events" >&2
  if [ -n "$ROLLBACK_ON_FAILURE" ]; then
    fail "$HELM_RELEASE could not be upgraded. Helm was to put back what ran; its history says whether it did."
  fi
  fail "$HELM_RELEASE could not be upgraded. It stays as it is (ROLLBACK_ON_FAILURE=true puts back what ran)."
fi
step 'What runs now'
in_release status
