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
mkdir "$work/manifests"
set +f
for file in "$KUBERNETES_MANIFESTS"/*.yaml "$KUBERNETES_MANIFESTS"/*.yml "$KUBERNETES_MANIFESTS"/*.json; do
  [ ! -f "$file" ] || sed "s|\${DOCKER_IMAGE}|$DOCKER_IMAGE|g" "$file" >"$work/manifests/${file##*/}"
done
set -f
[ -n "$(ls "$work/manifests")" ] || fail "$KUBERNETES_MANIFESTS holds no .yaml, .yml or .json. Nothing was touched."
step "Asking what $KUBERNETES_MANIFESTS would change"
in_namespace apply --dry-run=server -f "$work/manifests" || fail 'Kubernetes refuses the manifests. Nothing was touched.'
step 'Applying the manifests'
left="The manifests may have been applied, all or some of them."
in_namespace apply -f "$work/manifests" -o name >"$work/applied" || {
  cat "$work/applied"
  fail "the manifests were not applied as a whole; above are those that were."
}
cat "$work/applied"
sed -n 's/^\(deployment\|statefulset\|daemonset\)\(\.apps\)\{0,1\}\//\1 /p' "$work/applied" >"$work/applied.workloads"
# What was there before the manifests is what Kubernetes remembers of each.
put_back() {
  while read -r kind name <&5; do
    in_namespace rollout undo "$kind/$name" >&2 || fail "$1. $kind/$name could not be put back."
    in_namespace rollout status "$kind/$name" --timeout="${WAIT_SECONDS}s" >&2 ||
      fail "$1. What ran before was put back on $kind/$name, which is not well either."
  done 5<"$work/applied.workloads"
  fail "$1. What ran before was put back, and runs."
}
while read -r kind name <&4; do
  wait_for "$kind" "$name" && continue
  not_well "$kind/$name is not well with $DOCKER_IMAGE" "$kind" "$name"
done 4<"$work/applied.workloads"
step 'What runs now'
while read -r kind name <&4; do
  echo "$kind/$name:"
  containers "$kind" "$name"
done 4<"$work/applied.workloads"
