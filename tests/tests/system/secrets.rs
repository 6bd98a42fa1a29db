//! What is secret stays out of everything that is written: keys are planted in every input, and looked for.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tests::local::{Local, Running, sample_bars};
use tests::{binary, repository, wait};

/// What a person or a stranger gives the agent to keep for itself.
const READ: &str = "planted-key-for-reading-5f1c";
const BEFORE: &str = "planted-key-before-the-last-rotation-9a3e";
const TRADE: &str = "planted-key-for-acting-77d0";
const STRANGE: &str = "planted-key-of-a-stranger-c4b8";
const IN_FILE: &str = "planted-key-in-a-file-1e6d";
const PASSWORD: &str = "planted-password-of-a-database-0b92";
const PLANTED: [&str; 6] = [READ, BEFORE, TRADE, STRANGE, IN_FILE, PASSWORD];

/// Starts an agent whose keys are planted, whose logs tell everything, and which may leave a core dump.
fn start(local: &Local) -> Running {
    let keys = local.path().join("keys");
    std::fs::create_dir(&keys).expect("a folder");
    std::fs::write(keys.join("read"), format!("{READ}\n{BEFORE}\n")).expect("a key");
    std::fs::write(keys.join("trade"), TRADE).expect("a key");
    let run = local.run(&sample_bars(), &["--keys", "keys", "--log-level", "trace,", "--speed", "864000"]);
    let log = File::create(local.path().join("log")).expect("a log");
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -c unlimited; exec \"$0\" \"$@\""])
        .arg(run.get_program())
        .args(run.get_args())
        .current_dir(local.path())
        .env("TRADINGBOT_API_KEY", TRADE)
        .stdout(log.try_clone().expect("a log"))
        .stderr(log);
    let agent = Running(command.spawn().expect("the agent runs"));
    wait::until("the agent answers", || match request(local, "/readyz", None) {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    agent
}

fn request(local: &Local, path: &str, key: Option<&str>) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(local.address())?;
    let key = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n{key}\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// What the agent says as its own client.
fn asked(local: &Local, arguments: &[&str]) -> String {
    let url = format!("http://{}", local.address());
    let output = Command::new(binary("tradingbot-agent"))
        .args(arguments)
        .args(["--url", &url, "--log-level", "trace,"])
        .env("TRADINGBOT_API_KEY", STRANGE)
        .current_dir(local.path())
        .output()
        .expect("the agent runs");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn ended(mut agent: Running, signal: Signal) -> std::process::ExitStatus {
    let child: &mut Child = &mut agent.0;
    kill_process(Pid::from_child(child), signal).expect("a signal");
    child.wait().expect("the agent ends")
}

#[test]
fn no_key_is_in_a_log_an_answer_a_metric_or_the_journal() {
    let local =
        Local::new(&std::fs::read_to_string(repository("examples/paper-btc.yaml")).expect("the example"));
    let agent = start(&local);
    std::fs::write(local.path().join("key"), IN_FILE).expect("a key");
    std::fs::write(local.path().join("good"), READ).expect("a key");
    let mut outputs = vec![
        ("status", asked(&local, &["status", "--key-file", "good"])),
        ("decisions", asked(&local, &["decisions", "--key-file", "good"])),
        ("a key from a file that is wrong", asked(&local, &["status", "--key-file", "key"])),
        ("a key from the environment that is wrong", asked(&local, &["trades"])),
    ];
    assert!(outputs[0].1.contains("equity"), "{}", outputs[0].1);
    for path in ["/metrics", "/livez", "/nothing"] {
        outputs.push((path, request(&local, path, Some(TRADE)).expect("an answer")));
    }
    for key in [READ, BEFORE, TRADE, STRANGE] {
        let answer = request(&local, "/api/v1/bot/status", Some(key)).expect("an answer");
        let expected = if key == STRANGE { "HTTP/1.1 401" } else { "HTTP/1.1 200" };
        assert!(answer.starts_with(expected), "{key}: {answer}");
        outputs.push(("an answer", answer));
    }
    std::fs::write(local.path().join("database"), format!("postgres://bot:{PASSWORD}@127.0.0.1:9/majors"))
        .expect("an address");
    for arguments in [["--journal-url", "database"], ["--journal", "postgres://bot@127.0.0.1:9/majors"]] {
        let output = Command::new(binary("tradingbot-agent"))
            .args(["status", "--log-level", "trace,"])
            .args(arguments)
            .env("PGPASSWORD", PASSWORD)
            .current_dir(local.path())
            .output()
            .expect("the agent runs");
        assert!(!output.status.success());
        outputs.push((
            "a database",
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        ));
    }
    let rotated = Command::new(binary("tradingbot-agent"))
        .args(["keys", "rotate", "--keys", "keys", "--log-level", "trace,"])
        .current_dir(local.path())
        .output()
        .expect("the agent runs");
    outputs.push((
        "keys rotate",
        String::from_utf8_lossy(&[rotated.stdout, rotated.stderr].concat()).into_owned(),
    ));
    let fresh = std::fs::read_to_string(local.path().join("keys/read")).expect("the keys");
    let fresh = fresh.lines().next().expect("a key").to_owned();
    // Without a restart, and the one before it goes on.
    wait::until("the new key is let in", || {
        match request(&local, "/api/v1/bot/status", Some(&fresh)).map_err(|error| error.to_string())? {
            answer if answer.starts_with("HTTP/1.1 200") => Ok(()),
            answer => Err(answer),
        }
    });
    let answer = request(&local, "/api/v1/bot/status", Some(READ)).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(ended(agent, Signal::TERM).success());
    let log = std::fs::read_to_string(local.path().join("log")).expect("the log");
    assert!(log.contains("\"TRACE\"") || log.contains("TRACE"), "the log tells everything: {log}");
    outputs.push(("the log", log));
    let mut journal = 0;
    for file in std::fs::read_dir(local.path().join("journal")).expect("the journal") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("a file");
        journal += bytes.len();
        outputs.push(("the journal", String::from_utf8_lossy(&bytes).into_owned()));
    }
    assert!(journal > 100_000, "{journal} bytes were searched");
    for (what, text) in outputs {
        for planted in PLANTED.into_iter().chain([fresh.as_str()]) {
            assert!(!text.contains(planted), "{planted} is in {what}");
        }
    }
}

#[test]
fn a_crash_leaves_no_memory_behind() {
    let local =
        Local::new(&std::fs::read_to_string(repository("examples/paper-btc.yaml")).expect("the example"));
    let agent = start(&local);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", agent.0.id())).expect("limits");
    let limit = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(limit.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{limit}");
    let status = ended(agent, Signal::ABORT);
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false));
    // The same signal, and a process that takes no care.
    let mut careless = Command::new("sh");
    let careless = careless
        .args(["-c", "ulimit -c unlimited; kill -ABRT $$"])
        .current_dir(local.path())
        .stderr(Stdio::null())
        .status()
        .expect("a shell");
    println!("this system would have left one: {}", careless.core_dumped());
}
