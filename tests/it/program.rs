//! The built program: what its commands print, how it serves, stops, dies and comes back.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::support::market::{market, until, write_folder};
use crate::support::server::{DataFolder, Server, errors, is_gone_within};
use crate::support::store::{count, real};

/// Postgres follows its killed service within a second; machines that build at the same time get more.
const WATCHDOG: Duration = Duration::from_secs(5);

fn head(server: &Server) -> (i64, String) {
    let head = server.found("/ledger/head");
    (head["sequence"].as_i64().unwrap(), head["hash"].as_str().unwrap().to_owned())
}

#[test]
fn serving_survives_stops_kills_and_company() {
    let folder = DataFolder::new();
    let server = Server::start(&folder, &[]);
    let signal = server.found("/signal/SIM-PLANTED");
    assert_eq!((&signal["simulated"], &signal["symbol"]), (&Value::Bool(true), &Value::from("SIM-PLANTED")));
    assert_eq!(server.found("/readyz")["status"], "ready");
    let first = head(&server);
    let postmaster = folder.postmaster().expect("the private Postgres runs");

    // Other commands join the server that runs.
    let verified = folder.done(&["verify"]);
    assert!(verified.contains(&format!("{}:{}", first.0, first.1)), "{verified}");
    folder.done(&["verify", "--expect", &format!("{}:{}", first.0, first.1)]);
    let mismatch = folder.failed(&["verify", "--expect", &format!("{}:{}", first.0, "0".repeat(64))]);
    assert!(mismatch.contains(&format!("entry {}", first.0)), "{mismatch}");
    assert!(folder.done(&["replay", "1"]).contains("the same"));
    let key = folder.done(&["keys", "create", "--scope", "ingest", "--name", "nightly"]);
    assert!(key.starts_with("fcd_") && key.trim().len() == 68, "{key}");
    assert!(folder.done(&["keys", "list"]).contains("nightly"));
    folder.done(&["health", "--address", &server.address.to_string()]);
    let again = folder.done(&["publish"]);
    assert!(again.contains("--again"), "{again}");

    // Another service is refused and does no harm.
    let refused = folder.failed(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(refused.contains("in use by another forecastd") && refused.contains("--data-dir"), "{refused}");
    let taken = DataFolder::new().failed(&["serve", "--listen", &server.address.to_string()]);
    assert!(taken.contains("--listen"), "{taken}");
    assert_eq!(head(&server), first);

    // A stop is clean: the status is 0 and Postgres has gone before the service.
    let status = server.stop();
    assert!(status.success(), "{status}");
    assert!(is_gone_within(Duration::ZERO, postmaster), "the service waits for its Postgres");
    assert!(folder.postmaster().is_none());

    let server = Server::start(&folder, &[]);
    assert_eq!(head(&server), first, "a second start keeps everything and publishes nothing anew");
    assert_eq!(server.found("/signal/SIM-PLANTED"), signal);

    // Killed, it takes its Postgres along and loses nothing.
    let postmaster = folder.postmaster().unwrap();
    server.signal(Signal::KILL);
    let status = server.wait();
    assert_eq!(status.signal(), Some(9));
    assert!(is_gone_within(WATCHDOG, postmaster));
    let server = Server::start(&folder, &[]);
    assert_eq!(head(&server), first);
    assert_eq!(server.found("/signal/SIM-PLANTED"), signal);
    server.signal(Signal::INT);
    assert!(server.wait().success());
    assert!(folder.done(&["verify"]).contains(&first.1), "without a service the command starts the store itself");
    assert!(folder.postmaster().is_none(), "and stops it");
}

#[cfg(target_os = "linux")]
#[test]
fn a_training_ends_with_its_service() {
    let folder = DataFolder::new();
    for signal in [Signal::KILL, Signal::TERM] {
        let server = Server::start_training(&folder);
        assert_eq!(server.found("/healthz")["status"], "ok");
        let started = server.descendants();
        assert!(started.len() >= 3, "training, watchdog, Postgres: {started:?}");
        server.signal(signal);
        let status = server.wait();
        assert_eq!(status.success(), signal == Signal::TERM, "{status}");
        for process in started {
            assert!(is_gone_within(WATCHDOG, process), "{process} outlives its service after {signal:?}");
        }
    }
    let server = Server::start(&folder, &[]);
    assert_eq!(server.found("/readyz")["status"], "ready", "an interrupted first start is made good by the second");
    assert!(server.stop().success());
}

#[test]
fn a_folder_is_served_and_news_are_heard_of() {
    let (folder, files) = (DataFolder::new(), tempfile::tempdir().unwrap());
    let market = market(6, 440);
    let day = market.rows[0].bars[419].day();
    write_folder(files.path(), &until(&market, day));
    let path = files.path().to_str().unwrap();
    let server = Server::start(&folder, &["--import", path]);
    let signal = server.found("/signal/SIM-01");
    assert_eq!((&signal["simulated"], &signal["as_of"]), (&Value::Bool(false), &Value::from(day.to_string())));
    let before = head(&server);
    write_folder(files.path(), &market);
    folder.done(&["import", path]);
    folder.done(&["train", "--members", "0", "--scenarios", "800"]);
    // The promotion asked for a publication, and the service's worker may have been faster.
    let published = folder.done(&["publish"]);
    assert!(published.contains("as of 2024-09-30") || published.contains("--again"), "{published}");
    let begun = Instant::now();
    while server.found("/signal/SIM-01")["as_of"] != "2024-09-30" {
        assert!(begun.elapsed() < Duration::from_secs(20), "the service hears of a publication");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(head(&server).0, 2 * before.0);
    assert!(server.stop().success());
}

#[test]
fn an_import_with_a_bad_file_fails_and_says_where() {
    let (folder, files) = (DataFolder::new(), tempfile::tempdir().unwrap());
    let write = |name: &str, text: &str| fs::write(files.path().join(name), text).unwrap();
    write("GOOD.csv", "Date,Close\n2024-09-27,10\n2024-09-30,11\n");
    write("BAD.csv", "Date,Close\n2024-09-27,10\n2024-09-30,minus\n");
    let path = files.path().to_str().unwrap();
    let output = folder.run(["import", path]);
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    let text = errors(&output);
    assert!(text.contains("BAD.csv:3 (Close)"), "{text}");
    assert!(text.contains("1 files") && text.contains("1 files refused"), "{text}");
    fs::remove_file(files.path().join("BAD.csv")).unwrap();
    let output = folder.run(["import", path]);
    assert!(output.status.success() && errors(&output).contains("2 unchanged"), "{}", errors(&output));
    let nowhere = folder.failed(&["import", "/nowhere/at/all"]);
    assert!(nowhere.contains("/nowhere/at/all does not exist"), "{nowhere}");
    let untrained = folder.failed(&["publish"]);
    assert!(untrained.contains("forecastd train"), "{untrained}");
    assert!(folder.failed(&["replay", "1"]).contains("no entry 1"));
    assert!(folder.postmaster().is_none(), "a failed command stops its store, too");
}

#[sqlx::test]
async fn a_given_server_is_used_and_none_started(options: PgPoolOptions, connect: PgConnectOptions) {
    let url = connect.to_url_lossy().to_string();
    let opened = real(options, connect).await;
    let (folder, files) = (DataFolder::new(), tempfile::tempdir().unwrap());
    let file = files.path().join("GOOD.csv");
    fs::write(&file, "Date,Close\n2024-09-27,10\n2024-09-30,11\n").unwrap();
    let output = folder.command(["import", file.to_str().unwrap()]).env("DATABASE_URL", &url).output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(count(&opened.owner, "bars").await, 2);
    assert!(!folder.path().join("postgres").exists());
    let wrong = folder.command(["verify"]).env("DATABASE_URL", "nonsense").output().unwrap();
    assert!(!wrong.status.success() && !errors(&wrong).is_empty());
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let folder = DataFolder::new();
    let overview = folder.done(&["--help"]);
    let commands = ["serve", "import", "train", "publish", "evaluate", "replay", "verify", "keys", "openapi"];
    for command in commands {
        assert!(overview.contains(&format!("  {command} ")), "{command} is missing in {overview}");
    }
    let mut silent = vec![];
    for command in commands.iter().map(|c| vec![*c]).chain([vec!["keys", "create"]]) {
        let arguments: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
        let help = folder.done(&arguments);
        if !help.contains(&format!("forecastd {}", command.join(" "))) || !help.contains("Example") {
            silent.push(command.join(" "));
        }
    }
    assert!(silent.is_empty(), "no example in the help of {silent:?}");
    for (arguments, words) in [
        (vec!["evaluate", "--from", "2020-01-01", "--to", "2021-01-01", "--horizons", "7", "--out", "x"], "5, 20, 63"),
        (vec!["evaluate", "--on", "2020-01-01", "--model", "oracle", "--out", "x"], "known models"),
        (vec!["verify", "--expect", "1:xyz"], "SEQUENCE:HASH"),
        (vec!["keys", "create", "--scope", "root"], "ingest"),
        (vec!["train", "--scenarios", "7"], "multiple of 8"),
    ] {
        let output = folder.run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(errors(&output).contains(words), "{arguments:?}: {}", errors(&output));
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    folder.failed(&["health", "--address", &nobody]);
    assert!(folder.path().read_dir().unwrap().next().is_none(), "explaining needs no store");
}

#[test]
fn the_interface_is_described_in_both_forms() {
    let folder = DataFolder::new();
    let json: Value = serde_json::from_str(&folder.done(&["openapi", "--format", "json"])).unwrap();
    let yaml = folder.done(&["openapi"]);
    assert!(json["openapi"].as_str().is_some_and(|v| v.starts_with("3.1")));
    assert!(yaml.starts_with("openapi: 3.1"), "{}", &yaml[..40]);
    let paths = json["paths"].as_object().unwrap();
    for path in [
        "/signal/{symbol}",
        "/signals",
        "/rating/{symbol}",
        "/ratings",
        "/ratings/calibration",
        "/ranking/{symbol}",
        "/ranks",
        "/process/{symbol}",
        "/responses",
        "/forecast/{symbol}",
        "/instruments",
        "/instruments/{symbol}",
        "/prices/{symbol}",
        "/prices",
        "/ledger",
        "/ledger/head",
        "/ledger/{sequence}",
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/openapi.yaml",
    ] {
        assert!(paths.contains_key(path), "{path} is missing");
        assert!(yaml.contains(&format!("\n  {path}:\n")), "{path} is missing in the YAML");
    }
    let table = folder.done(&["config-table"]);
    assert!(table.contains("| `--listen` | `FORECASTD_LISTEN` | `127.0.0.1:8080` |"), "{table}");
}
