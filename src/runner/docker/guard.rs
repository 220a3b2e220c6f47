//! What deployments may not reach: the metadata address of clouds, which gives out the host's credentials, and the host
//! itself.
//!
//! Docker's API knows no such rule, and whoever runs coolops need not be root. So a short-lived container in the host's
//! network, with nothing but the right to change it, runs the host's own iptables, which Docker needs anyway. Its image
//! is empty: links into the host's file system, mounted read-only. The rules stand before Docker's own (mangle,
//! PREROUTING), are for packets from our bridge only, and let answers and the host's resolvers through.

/// The image of the container that sets the rules.
pub const IMAGE: &str = "coolops-guard:1";

/// Sets the rules for the bridge `$1`, which is there unless `$2` says that it comes with its first container; run again it
/// changes nothing.
pub const SCRIPT: &str = r#"set -eu
PATH=/usr/sbin:/sbin:/usr/bin:/bin
[ -n "${2:-}" ] || [ -e "/sys/class/net/$1" ] || { echo "there is no bridge $1" >&2; exit 3; }
command -v iptables-restore >/dev/null || { echo "the Docker host has no iptables" >&2; exit 4; }
resolvers() { sed -n 's/^nameserver[[:space:]]*\([0-9.]*\)[[:space:]]*$/\1/p' /etc/resolv.conf; }
{
  printf '%s\n' '*mangle' ":$1 - [0:0]" "-F $1" "-A $1 -m conntrack --ctdir REPLY -j RETURN"
  for at in $(resolvers); do for of in udp tcp; do echo "-A $1 -d $at -p $of --dport 53 -j RETURN"; done; done
  printf '%s\n' "-A $1 -d 169.254.0.0/16 -j DROP" "-A $1 -m addrtype ! --dst-type UNICAST -j DROP" COMMIT
} | iptables-restore -w 5 --noflush
iptables -w 5 -t mangle -C PREROUTING -i "$1" -j "$1" 2>/dev/null || iptables -w 5 -t mangle -I PREROUTING -i "$1" -j "$1"
if command -v ip6tables >/dev/null; then
  ip6tables -w 5 -t mangle -C PREROUTING -i "$1" -j DROP 2>/dev/null || ip6tables -w 5 -t mangle -I PREROUTING -i "$1" -j DROP 2>/dev/null || true
fi
"#;

/// The image's file system as a tar archive: links to where the host's is mounted.
///
/// # Errors
/// None in practice: it is written to memory.
pub fn file_system() -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut entry = |kind: tar::EntryType, path: &str, target: Option<&str>| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(0);
        match target {
            Some(target) => archive.append_link(&mut header, path, target),
            None => archive.append_data(&mut header, path, std::io::empty()),
        }
    };
    for folder in ["etc/", "host/", "run/"] {
        entry(tar::EntryType::Directory, folder, None)?;
    }
    for name in ["bin", "sbin", "lib", "lib64", "usr"] {
        entry(tar::EntryType::Symlink, name, Some(&format!("host/{name}")))?;
    }
    entry(tar::EntryType::Symlink, "etc/alternatives", Some("/host/etc/alternatives"))?;
    entry(tar::EntryType::Symlink, "etc/ld.so.cache", Some("/host/etc/ld.so.cache"))?;
    archive.into_inner()
}
