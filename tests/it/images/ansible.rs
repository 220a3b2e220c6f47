//! `ansible` with the real thing: on the machine itself, and over a real sshd.

use super::ssh_compose::{Machine, keygen, login};
use super::{Bench, SHELLS, Variables, variables, with};

const PLAYBOOK: &str = r#"- hosts: all
  gather_facts: false
  tasks:
    - name: Say the tag
      ansible.builtin.debug: {msg: "tag {{ tag }}"}
    - name: Be slow
      ansible.builtin.shell: "touch '{{ began }}'; sleep 20"
      when: "'slow' in tag"
    - name: Be bad
      ansible.builtin.fail: {msg: "no room on the disk"}
      when: "'bad' in tag"
"#;

fn here(bench: &Bench) -> Variables {
    let playbook = bench.file("play.yml", PLAYBOOK);
    let inventory = format!(
        "app ansible_connection=local ansible_python_interpreter=/usr/bin/python3 began={}",
        bench.path("began").display()
    );
    let all = variables(&[("DOCKER_TAG", "v2"), ("VALUES_FROM_BUILD", "tag=DOCKER_TAG"), ("WAIT_SECONDS", "2")]);
    with(&with(&all, "PLAYBOOK", &playbook), "PLAYBOOK_INVENTORY", &inventory)
}

#[test]
fn a_playbook_gets_the_build_s_values_as_data_and_fails_in_ansible_s_words() {
    for shell in SHELLS {
        let bench = Bench::new();
        let all = here(&bench);
        bench.deploys("ansible", shell, &all).succeeded().says("\"msg\": \"tag v2\"").says("--- Done");
        let bad = with(&all, "DOCKER_TAG", "bad1");
        bench.deploys("ansible", shell, &bad).failed().says("no room on the disk").says("It stays as it is.");
        let back = bench.file(
            "back.yml",
            "- hosts: all\n  gather_facts: false\n  tasks: [{ansible.builtin.debug: {msg: put back}}]\n",
        );
        let back = with(&with(&bad, "PLAYBOOK_ROLLBACK", &back), "ROLLBACK_ON_FAILURE", "true");
        bench.deploys("ansible", shell, &back).failed().says("\"msg\": \"put back\"").says("The way back was played.");
    }
}

#[test]
fn machines_are_reached_with_pinned_keys_alone() {
    let bench = Bench::new();
    let machine = Machine::start(&bench, "");
    let read = |name: &str| std::fs::read_to_string(bench.path(name)).unwrap();
    let inventory = format!(
        "app ansible_host=127.0.0.1 ansible_port={} ansible_user={} ansible_python_interpreter=/usr/bin/python3 ansible_remote_tmp={}",
        machine.port,
        login(),
        bench.path("remote").display()
    );
    let all = with(&with(&here(&bench), "PLAYBOOK_INVENTORY", &inventory), "DEPLOY_KEY", &read("user"));
    let pinned = |public: &str| format!("[127.0.0.1]:{} {public}", machine.port);
    let known = with(&all, "DEPLOY_HOST_KEY", &pinned(&read("host.pub")));
    bench.deploys("ansible", SHELLS[0], &known).succeeded().says("\"msg\": \"tag v2\"");
    let playbook = bench
        .file("ping.yml", "- hosts: all\n  gather_facts: false\n  tasks: [{ansible.builtin.command: echo reached}]\n");
    bench.deploys("ansible", SHELLS[0], &with(&known, "PLAYBOOK", &playbook)).succeeded().says("changed=1");
    let (_, other) = keygen(&bench, "other");
    let changed = with(&with(&known, "PLAYBOOK", &playbook), "DEPLOY_HOST_KEY", &pinned(&other));
    bench.deploys("ansible", SHELLS[0], &changed).failed().says("Host key verification failed");
    let unknown = with(&with(&known, "PLAYBOOK", &playbook), "DEPLOY_HOST_KEY", "");
    bench.deploys("ansible", SHELLS[0], &unknown).failed().says("Host key verification failed");
}

#[test]
fn ansible_checks_every_value_and_hears_sigterm() {
    let bench = Bench::new();
    let all = here(&bench);
    let slow = with(&all, "DOCKER_TAG", "slow");
    for shell in SHELLS {
        std::fs::remove_file(bench.path("began")).ok();
        let ran = bench.is_stopped("ansible", shell, &slow, || bench.path("began").exists());
        assert_eq!(ran.code, Some(143), "{ran:?}");
        ran.says("ansible: stopped. The playbook was played as far as the log says.");
    }
    bench
        .deploys("ansible", SHELLS[0], &with(&all, "ROLLBACK_ON_FAILURE", "true"))
        .failed()
        .says("needs PLAYBOOK_ROLLBACK");
    bench
        .deploys("ansible", SHELLS[0], &with(&all, "DEPLOY_KEY", "nonsense"))
        .failed()
        .says("neither a private key nor the base64 of one");
    let elsewhere = bench
        .file("elsewhere.yml", "- hosts: web\n  gather_facts: false\n  tasks: [{ansible.builtin.debug: {msg: x}}]\n");
    bench
        .deploys("ansible", SHELLS[0], &with(&all, "PLAYBOOK", &elsewhere))
        .failed()
        .says("no machine of the inventory is one of the playbook. Nothing was touched.");
    bench
        .deploys("ansible", SHELLS[0], &with(&all, "PLAYBOOK_INVENTORY", "/nowhere/hosts"))
        .failed()
        .says("PLAYBOOK_INVENTORY is no file and no folder");
    let broken = bench.file("broken.yml", "- hosts: all\n  tasks: [\n");
    bench
        .deploys("ansible", SHELLS[0], &with(&all, "PLAYBOOK", &broken))
        .failed()
        .says("Ansible can not read the playbook. Nothing was touched.");
    bench.tool("ansible-playbook", "");
    bench.checks(
        "ansible",
        &all,
        &["PLAYBOOK_INVENTORY", "DOCKER_TAG"],
        &["DOCKER_TAG", "PLAYBOOK", "PLAYBOOK_LIMIT", "VALUES_FROM_BUILD"],
    );
}
