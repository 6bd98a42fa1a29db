//! Keys of a bot in a cluster, rotated by the commands that `keys rotate` prints.

use std::collections::BTreeSet;
use std::process::Command;

use tests::cluster::Cluster;
use tests::operator::Operator;
use tests::{binary, repository, wait};

#[test]
fn the_printed_commands_rotate_the_keys_of_a_bot_in_a_cluster() {
    let cluster = Cluster::control_plane();
    let _operator = Operator::start(&cluster);
    let namespace = cluster.namespace("keys");
    let folder = cluster.folder("keys");
    let manifest = std::fs::read_to_string(repository("examples/paper-btc.yaml")).expect("the example");
    let manifest = manifest.replace("metadata:\n", "metadata:\n  namespace: keys\n");
    std::fs::write(folder.join("bot.yaml"), &manifest).expect("a manifest");
    cluster.apply(&manifest);
    let secret = wait::until("the bot has its Secret", || {
        let bot = cluster.get(&namespace, "tradingbot/paper-btc").ok_or("no bot")?;
        let name = bot["status"]["apiKeySecret"].as_str().ok_or("no name")?.to_owned();
        cluster.get(&namespace, &format!("secret/{name}")).map(|_| name).ok_or_else(|| "no Secret".to_owned())
    });
    let keys = |role: &str| -> Vec<String> {
        let template = format!("go-template={{{{.data.{role} | base64decode}}}}");
        let text = cluster.run(&["get", "secret", &secret, "-n", &namespace, "-o", &template]);
        text.lines().map(str::to_owned).collect()
    };
    let rotate = |more: &[&str]| {
        let printed = Command::new(binary("tradingbot-agent"))
            .args(["keys", "rotate", "-f", "bot.yaml"])
            .args(more)
            .current_dir(&folder)
            .output()
            .expect("the agent runs");
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        let kubectl = cluster.kubectl(&[]);
        let programs = std::path::Path::new(kubectl.get_program()).parent().expect("a folder").to_owned();
        let path = std::env::var("PATH").expect("a path");
        let ran = Command::new("sh")
            .args(["-euc", &String::from_utf8(printed.stdout).expect("UTF-8")])
            .env("KUBECONFIG", cluster.kubeconfig())
            .env("PATH", format!("{}:{path}", programs.display()))
            .output()
            .expect("a shell");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    let first = ["read", "trade"].map(keys);
    assert!(first.iter().all(|keys| keys.len() == 1));
    rotate(&[]);
    let second = ["read", "trade"].map(keys);
    for (before, after) in first.iter().zip(&second) {
        assert_eq!((after.len(), &after[1]), (2, &before[0]), "the key before is valid");
        assert_eq!(after[0].len(), 64);
    }
    rotate(&["--role", "read", "--revoke"]);
    let third = ["read", "trade"].map(keys);
    assert_eq!((third[0].len(), &third[1]), (1, &second[1]));
    let all: BTreeSet<_> = [first, second, third].into_iter().flatten().flatten().collect();
    assert_eq!(all.len(), 5, "two at the start, two by the first rotation, one by the second");
}
