# shellcheck shell=sh disable=SC2154
# What the images share that deploy to Kubernetes: reaching a cluster, waiting for what was changed, telling why it isn't well.

# The cluster that kubectl and helm reach: a kubeconfig, or an address with a token.
cluster_variables() {
  optional KUBERNETES_CONFIG
  optional KUBERNETES_SERVER
  optional KUBERNETES_TOKEN
  optional KUBERNETES_CA
  optional KUBERNETES_NAMESPACE default
  kubernetes_name KUBERNETES_NAMESPACE
  limit WAIT_SECONDS 600
  yes_or_no ROLLBACK_ON_FAILURE
  fits KUBERNETES_SERVER 500 'A-Za-z0-9._:/-' 'address of a cluster, such as https://203.0.113.7:6443'
  fits KUBERNETES_TOKEN 8000 'A-Za-z0-9._~+/=-' 'token of Kubernetes'
  if [ -n "$KUBERNETES_CONFIG" ] && [ -n "$KUBERNETES_SERVER" ]; then
    problem 'KUBERNETES_CONFIG and KUBERNETES_SERVER are both set: which cluster is meant?'
  fi
  if [ -z "$KUBERNETES_CONFIG" ]; then
    of_environment 'KUBERNETES_CONFIG|KUBERNETES_SERVER'
    [ -z "$KUBERNETES_SERVER" ] || of_environment KUBERNETES_TOKEN
    case $KUBERNETES_SERVER in
      '' | https://*) ;;
      *) problem 'KUBERNETES_SERVER does not begin with https://' ;;
    esac
  else
    text KUBERNETES_CONFIG clusters 'a kubeconfig'
  fi
}

# Writes what kubectl and helm read: nothing of it is an argument of theirs.
cluster_access() {
  KUBECONFIG=$work/kubeconfig
  export KUBECONFIG
  # Its caches are nobody else's.
  HOME=$work
  export HOME
  if [ -n "$KUBERNETES_CONFIG" ]; then
    printf '%s\n' "$KUBERNETES_CONFIG" >"$KUBECONFIG"
    return
  fi
  authority=''
  if [ -n "$KUBERNETES_CA" ]; then
    printf '%s\n' "$KUBERNETES_CA" >"$work/ca.pem"
    authority=", certificate-authority: $work/ca.pem"
  fi
  {
    echo 'apiVersion: v1'
    echo 'kind: Config'
    echo 'current-context: there'
    echo "contexts: [{name: there, context: {cluster: there, user: coolops}}]"
    echo "clusters: [{name: there, cluster: {server: \"$KUBERNETES_SERVER\"$authority}}]"
    echo "users: [{name: coolops, user: {token: \"$KUBERNETES_TOKEN\"}}]"
  } >"$KUBECONFIG"
}

# workloads NAME KIND: checks a list of [KIND/]WORKLOAD[=CONTAINER] and writes `kind name container` for each.
workloads() {
  fits "$1" 5000 'A-Za-z0-9.,=/ -' "list of workloads: write NAME, or NAME=CONTAINER, with commas between them"
  : >"$work/workloads"
  eval "list=\${$1:-}"
  parts "$list" >"$work/listed"
  while IFS= read -r entry; do
    workload=${entry%%=*}
    container=''
    case $entry in *=*) container=${entry#*=} ;; esac
    kind=$2
    case $workload in */*) kind=${workload%%/*} && workload=${workload#*/} ;; esac
    case $kind in
      deploy | deployment | deployments) kind=deployment ;;
      sts | statefulset | statefulsets) kind=statefulset ;;
      ds | daemonset | daemonsets) kind=daemonset ;;
      cj | cronjob | cronjobs) kind=cronjob ;;
      *) problem "$1: there are deployment/, statefulset/, daemonset/ and cronjob/ before a name" ;;
    esac
    case $workload,$container in
      ,* | -* | *,-* | *,*,*) problem "$1 names nothing in Kubernetes: write NAME, or NAME=CONTAINER" ;;
    esac
    case $workload$container in
      '' | *[!a-z0-9.-]*) problem "$1 names nothing in Kubernetes: small letters, digits, '.' and '-' are in a name" ;;
    esac
    echo "$kind $workload $container" >>"$work/workloads"
  done <"$work/listed"
  [ -s "$work/workloads" ] || eval "[ -z \"\${$1:-}\" ]" || problem "$1 names nothing"
}

in_namespace() { run kubectl --namespace "$KUBERNETES_NAMESPACE" "$@"; }

# containers KIND NAME: a line for each of its containers, with the image.
containers() {
  spec=.spec.template.spec
  [ "$1" != cronjob ] || spec=.spec.jobTemplate.spec.template.spec
  in_namespace get "$1/$2" -o "jsonpath={range $spec.containers[*]}{.name}{' '}{.image}{'\n'}{end}"
}

# Sets an image on all workloads, waits until they are well, and says what ran before and what runs now.
set_images() { # set_images IMAGE
  step "Looking at what runs in $KUBERNETES_NAMESPACE"
  : >"$work/plan"
  while read -r kind name container; do
    containers "$kind" "$name" >"$work/containers" || fail "$kind/$name can't be read. Nothing was touched."
    # The original's images are told apart by the name of the Deployment.
    wanted=${container:-$name}
    if ! before=$(awk -v wanted="$wanted" '$1 == wanted { print $2; found = 1 } END { exit !found }' "$work/containers"); then
      if [ -n "$container" ] || [ "$(wc -l <"$work/containers")" -ne 1 ]; then
        fail "$kind/$name has no container $wanted, but $(awk '{ printf "%s%s", between, $1; between = ", " }' "$work/containers"); write $name=CONTAINER. Nothing was touched."
      fi
      read -r wanted before <"$work/containers"
    fi
    echo "$kind/$name ($wanted) runs $before"
    echo "$kind $name $wanted $before" >>"$work/plan"
  done <"$work/workloads"
  : >"$work/changed"
  left=''
  while read -r kind name container before <&4; do
    step "Setting $1 on $kind/$name"
    echo "$kind $name $container $before" >>"$work/changed"
    left="${left:+$left }$kind/$name may have $1 by now (it had $before)."
    if ! in_namespace set image "$kind/$name" "$container=$1"; then
      not_well "$1 could not be set on $kind/$name" "$kind" "$name"
    fi
  done 4<"$work/plan"
  begin_waiting
  while read -r kind name container before <&4; do
    wait_for "$kind" "$name" || not_well "$kind/$name is not well with $1" "$kind" "$name"
  done 4<"$work/plan"
  step 'What runs now'
  while read -r kind name container before <&4; do
    containers "$kind" "$name" >"$work/containers" || fail "$kind/$name can't be read any more. $left"
    now=$(awk -v wanted="$container" '$1 == wanted { print $2 }' "$work/containers")
    [ "$now" = "$1" ] || fail "$kind/$name runs $now by now: somebody else has changed it meanwhile"
    echo "$kind/$name ($container): $before → $now"
  done 4<"$work/plan"
}

# The seconds that are left of those that all of it may take, one at least.
begin_waiting() { until_then=$(($(date +%s) + WAIT_SECONDS)); }
seconds_left() {
  seconds=$((until_then - $(date +%s)))
  [ "$seconds" -ge 1 ] || seconds=1
  printf '%s' "$seconds"
}

wait_for() { # wait_for KIND NAME
  if [ "$1" = cronjob ]; then
    echo "$1/$2 takes it from its next run on."
    return
  fi
  step "Waiting for $1/$2, $(seconds_left) seconds at most"
  in_namespace rollout status "$1/$2" --timeout="$(seconds_left)s"
}

# put_back WHY: what ran before, on all that was changed; first all of it, then it is waited for.
put_back() {
  trouble=''
  while read -r kind name container before <&5; do
    in_namespace set image "$kind/$name" "$container=$before" >&2 || trouble="$trouble $before could not be put back on $kind/$name."
  done 5<"$work/changed"
  begin_waiting
  while read -r kind name container before <&5; do
    [ "$kind" = cronjob ] || in_namespace rollout status "$kind/$name" --timeout="$(seconds_left)s" >&2 ||
      trouble="$trouble $kind/$name is not well with $before either."
  done 5<"$work/changed"
  [ -z "$trouble" ] || fail "$1. What ran before was put back, but:$trouble"
  fail "$1. What ran before was put back, and runs."
}

# The lines of a file that are about a workload, or about a pod of it: its name, and at most two parts more.
about() { # about NAME FILE
  awk -v name="$1" '
    $1 == name { print; next }
    index($1, name "-") == 1 { rest = substr($1, length(name) + 2); if (split(rest, parts, "-") <= 2) print }' "$2"
}

# not_well WHY KIND NAME: in the cluster's own words; then back to what ran, where that is wanted.
not_well() {
  echo "--- What Kubernetes says of $2/$3" >&2
  in_namespace get events --field-selector type=Warning --sort-by=.metadata.creationTimestamp \
    -o "jsonpath={range .items[*]}{.involvedObject.name}{' '}{.reason}{': '}{.message}{'\n'}{end}" >"$work/events" ||
    echo 'Its events can not be read.' >&2
  about "$3" "$work/events" | tail -n 20 >&2
  each="{.state.waiting.reason}{' '}{.state.waiting.message}{' '}{.state.terminated.reason}{' '}{.lastState.terminated.reason}"
  in_namespace get pods \
    -o "jsonpath={range .items[*]}{.metadata.name}{' '}{range .status.initContainerStatuses[*]}$each{' '}{end}{range .status.containerStatuses[*]}$each{end}{'\n'}{end}" >"$work/pods" || :
  about "$3" "$work/pods" | awk 'NF > 1' | tail -n 20 >"$work/troubled"
  cat "$work/troubled" >&2
  # Why a container crashed is in what it printed.
  awk '{ print $1 }' "$work/troubled" | head -n 2 >"$work/crashed"
  while read -r pod <&4; do
    in_namespace logs "$pod" --all-containers --tail=20 --previous >"$work/printed" 2>/dev/null ||
      in_namespace logs "$pod" --all-containers --tail=20 >"$work/printed" 2>/dev/null || continue
    sed "s/^/$pod | /" "$work/printed" >&2
  done 4<"$work/crashed"
  if [ -z "$ROLLBACK_ON_FAILURE" ]; then
    fail "$1. It stays as it is (ROLLBACK_ON_FAILURE=true puts back what ran). $left"
  fi
  echo '--- Putting back what ran' >&2
  put_back "$1"
}
