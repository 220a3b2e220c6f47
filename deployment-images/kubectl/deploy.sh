#!/bin/sh
# Sets an image on workloads of any Kubernetes cluster, or applies manifests of the image; see README.md beside it.
set -eu
image=kubectl
. "$(dirname "$0")/../lib/steps.sh"
. "$(dirname "$0")/../lib/kubernetes.sh"

of_build DOCKER_IMAGE
image_reference DOCKER_IMAGE
cluster_variables
optional KUBERNETES_MANIFESTS
folder KUBERNETES_MANIFESTS
if [ -n "$KUBERNETES_MANIFESTS" ]; then
  [ -d "$KUBERNETES_MANIFESTS" ] || problem 'KUBERNETES_MANIFESTS is no folder of this image'
else
  of_environment KUBERNETES_WORKLOADS
  workloads KUBERNETES_WORKLOADS deployment
fi
checked
cluster_access
if [ -z "$KUBERNETES_MANIFESTS" ]; then
  set_images "$DOCKER_IMAGE"
  exit
fi

# In the manifests ${DOCKER_IMAGE} stands for the build's image: whose characters mean nothing to sed, or in YAML.
mkdir "$work/manifests" "$work/before"
set +f
for file in "$KUBERNETES_MANIFESTS"/*.yaml "$KUBERNETES_MANIFESTS"/*.yml "$KUBERNETES_MANIFESTS"/*.json; do
  [ ! -f "$file" ] || sed "s|\${DOCKER_IMAGE}|$DOCKER_IMAGE|g" "$file" >"$work/manifests/${file##*/}"
done
set -f
[ -n "$(ls "$work/manifests")" ] || fail "$KUBERNETES_MANIFESTS holds no .yaml, .yml or .json. Nothing was touched."
step "Asking what $KUBERNETES_MANIFESTS would change"
in_namespace apply --dry-run=server -f "$work/manifests" -o name >"$work/objects" || {
  cat "$work/objects"
  fail 'Kubernetes refuses the manifests. Nothing was touched.'
}
cat "$work/objects"
sed -n 's/^\(deployment\|statefulset\|daemonset\)\(\.apps\)\{0,1\}\//\1 /p' "$work/objects" >"$work/plan"
step 'Looking at what is there'
while read -r kind name <&4; do
  containers "$kind" "$name" >"$work/containers" 2>/dev/null || echo 'nothing yet' >"$work/containers"
  sed "s|^|$kind/$name: |" "$work/containers"
done 4<"$work/plan"
# What was applied before is the way back, whatever kind of object it is; what was never applied has none.
new=''
if [ -n "$ROLLBACK_ON_FAILURE" ]; then
  number=0
  while read -r object <&4; do
    number=$((number + 1))
    in_namespace apply view-last-applied "$object" -o json >"$work/before/$number.json" 2>/dev/null || {
      rm -f "$work/before/$number.json"
      new="$new $object"
    }
  done 4<"$work/objects"
fi
put_back() {
  stays=''
  [ -z "$new" ] || stays=" What was not applied before stays:$new."
  [ -n "$(ls "$work/before")" ] || fail "$1. There is nothing to put back.$stays"
  in_namespace apply -f "$work/before" >&2 || fail "$1. What was applied before could not be put back.$stays"
  begin_waiting
  while read -r kind name <&5; do
    case "$new " in *" $kind.apps/$name "* | *" $kind/$name "*) continue ;; esac
    in_namespace rollout status "$kind/$name" --timeout="$(seconds_left)s" >&2 ||
      fail "$1. What was applied before was put back; $kind/$name is not well with it either.$stays"
  done 5<"$work/plan"
  fail "$1. What was applied before was put back.$stays"
}
step 'Applying the manifests'
left='The manifests may have been applied, all or some of them.'
if ! in_namespace apply -f "$work/manifests"; then
  [ -n "$ROLLBACK_ON_FAILURE" ] || fail 'the manifests were not applied as a whole; above are those that were.'
  put_back 'the manifests were not applied as a whole'
fi
begin_waiting
while read -r kind name <&4; do
  wait_for "$kind" "$name" || not_well "$kind/$name is not well with $DOCKER_IMAGE" "$kind" "$name"
done 4<"$work/plan"
step 'What runs now'
while read -r kind name <&4; do
  containers "$kind" "$name" >"$work/containers" || fail "$kind/$name can't be read any more. $left"
  sed "s|^|$kind/$name: |" "$work/containers"
done 4<"$work/plan"
