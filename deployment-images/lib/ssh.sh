# shellcheck shell=sh disable=SC2154
# What the images share that reach machines over SSH: a key of ours, and the keys of the machines, pinned.

ssh_variables() {
  text DEPLOY_KEY 'PRIVATE KEY' 'a private key'
  optional DEPLOY_HOST_KEY
  machine_keys >/dev/null
}

# The public keys in DEPLOY_HOST_KEY, whatever stands around them: a line of ssh-keyscan, of known_hosts, or of the
# machine's own ssh_host_…_key.pub.
machine_keys() {
  printf '%s\n' "$DEPLOY_HOST_KEY" |
    sed -n '/^[[:blank:]]*[#@]/d; s/^\(.*[[:blank:]]\)\{0,1\}\(ssh-[a-z0-9@.-]*\|ecdsa-sha2-[a-z0-9-]*\|sk-[a-z0-9@.-]*\)[[:blank:]]\{1,\}\([A-Za-z0-9+/]\{20,\}=*\).*/\2 \3/p' >"$work/machine"
  [ -z "$DEPLOY_HOST_KEY" ] || [ -s "$work/machine" ] ||
    problem 'DEPLOY_HOST_KEY holds no public key of a machine; ssh-keyscan HOST prints it, to be compared with the machine itself'
}

# The key, and the machine that `HostKeyAlias=there` stands for.
ssh_access() {
  printf '%s\n' "$DEPLOY_KEY" >"$work/key"
  sed 's/^/there /' "$work/machine" >"$work/known_hosts"
}
