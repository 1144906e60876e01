//! The rules of the house, read off the sources: who may import whom, what pure code must not know, names and sizes.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules that compute and do nothing else.
const PURE: [&str; 7] = ["market", "features", "scenario", "decision", "rating", "evaluation", "opinion"];

/// What each module may import besides itself; `pure` stands for all pure modules.
const MAY_IMPORT: [(&str, &[&str]); 20] = [
    ("market", &[]),
    ("features", &["pure"]),
    ("scenario", &["pure"]),
    ("decision", &["pure"]),
    ("rating", &["pure"]),
    ("evaluation", &["pure"]),
    ("opinion", &["pure"]),
    ("learning", &["pure"]),
    ("forecast", &["pure", "learning"]),
    ("publication", &["pure", "learning", "forecast"]),
    ("clock", &[]),
    ("store", &["pure", "clock"]),
    ("ingest", &["pure"]),
    ("api", &["pure", "store", "clock"]),
    ("config", &[]),
    ("cli", &["pure", "config"]),
    ("telemetry", &["config"]),
    (
        "jobs",
        &["pure", "learning", "forecast", "publication", "store", "ingest", "report", "clock", "config", "cli", "api"],
    ),
    ("serve", &["pure", "store", "api", "jobs", "clock", "config", "cli", "work"]),
    ("work", &["pure", "store", "jobs", "config", "cli", "serve"]),
];

/// What no pure module may name: I/O, threads of others, clocks, the environment, chance without a seed.
const IMPURE: [&str; 15] = [
    "sqlx",
    "tokio",
    "axum",
    "tracing",
    "std::fs",
    "std::env",
    "std::net",
    "std::io::stdout",
    "std::process",
    "Utc::now",
    "Local::now",
    "SystemTime",
    "Instant::now",
    "SysRng",
    "rand::rng()",
];

/// A source file without its tests and comments.
struct Source {
    path: PathBuf,
    module: String,
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return vec![] };
    let mut files = vec![];
    for path in entries.map(|e| e.unwrap().path()) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The code that is compiled into the service: no tests, no comments.
fn compiled(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let is_tests = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ");
    let end = lines.windows(2).position(is_tests).unwrap_or(lines.len());
    let code = lines[..end].iter().filter(|l| !l.trim_start().starts_with("//"));
    code.copied().collect::<Vec<_>>().join("\n")
}

/// Modules that `lib.rs` declares for tests alone, as `folder/name.rs`.
fn only_for_tests(library: &str) -> Vec<String> {
    let (mut folder, mut found, mut test) = (String::new(), vec![], false);
    for line in library.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("pub mod ").and_then(|l| l.strip_suffix(" {")) {
            folder = name.to_owned();
        } else if line == "#[cfg(test)]" {
            test = true;
        } else if let Some((_, name)) = line.split_once("mod ").filter(|_| test) {
            found.push(format!("{folder}/{}.rs", name.trim_end_matches(';')));
            test = false;
        }
    }
    found
}

/// Modules whose lists of parts stand in files of their own.
const LISTS: [&str; 3] = ["api", "jobs", "store"];

/// `lib.rs` with the lists that stand in files of their own put in their places.
fn library() -> String {
    let folder = root().join("src");
    let mut library = fs::read_to_string(folder.join("lib.rs")).unwrap();
    for module in LISTS {
        let list = fs::read_to_string(folder.join(module).join("modules.rs")).unwrap();
        let list: String = list.lines().map(|line| format!("    {line}\n")).collect();
        let declared = format!("\npub mod {module};\n");
        assert!(library.contains(&declared));
        library = library.replace(&declared, &format!("\npub mod {module} {{\n{list}}}\n"));
    }
    library
}

fn sources() -> Vec<Source> {
    let folder = root().join("src");
    let tests = only_for_tests(&library());
    let mut sources = vec![];
    for path in rust_files(&folder) {
        let inside = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        let is_list = LISTS.iter().any(|module| inside == format!("{module}/modules.rs"));
        if is_list || ["lib.rs", "main.rs"].contains(&inside.as_str()) || tests.contains(&inside) {
            continue;
        }
        let module = inside.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        let code = compiled(&fs::read_to_string(&path).unwrap());
        sources.push(Source { path, module, code });
    }
    assert!(sources.len() > 100, "the sources are not where the test looks for them");
    sources
}

/// The modules that a piece of code names by `crate::`, those in braces included.
fn imports(code: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = vec![];
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            None => found.push(name(after)),
            Some(list) => {
                let mut depth = 1;
                let mut start = true;
                for (at, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 1 => start = true,
                        c if c.is_alphabetic() && start && depth == 1 => {
                            found.push(name(&list[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
        }
    }
    found
}

fn may_import(module: &str, other: &str) -> bool {
    let rule = MAY_IMPORT.iter().find(|(name, _)| *name == module);
    let (_, allowed) = rule.unwrap_or_else(|| panic!("the module {module} has no rule yet: where does it stand?"));
    module == other || allowed.contains(&other) || (allowed.contains(&"pure") && PURE.contains(&other))
}

/// Broken rules of one file.
fn violations(source: &Source) -> Vec<String> {
    let Source { module, code, path } = source;
    let mut broken = vec![];
    let mut tell = |what: String| broken.push(format!("{}: {what}", path.display()));
    for other in imports(code).into_iter().filter(|other| !may_import(module, other)) {
        tell(format!("{module} must not import {other}"));
    }
    let inner = PURE.contains(&module.as_str()) || ["forecast", "publication"].contains(&module.as_str());
    for word in IMPURE.iter().filter(|word| inner && code.contains(**word)) {
        tell(format!("{module} is computation and must not know {word}"));
    }
    if module == "learning" && ["sqlx", "tokio", "axum"].iter().any(|word| code.contains(word)) {
        tell("learning knows neither store nor runtime".into());
    }
    if module != "learning" && code.contains("burn::") {
        tell("Burn lives in learning".into());
    }
    if module != "store" && holds_sql(code) {
        tell("SQL lives in store".into());
    }
    broken
}

fn holds_sql(code: &str) -> bool {
    let calls =
        ["sqlx::query", "sqlx::raw_sql", "QueryBuilder", "AssertSqlSafe"].iter().any(|call| code.contains(call));
    let statement = |text: &&str| {
        let text = text.trim_start().to_lowercase();
        let begins = ["select ", "insert into ", "update ", "delete from ", "create table ", "copy "];
        begins.iter().any(|b| text.starts_with(b))
            && [" from ", " set ", " values", " (", "from "].iter().any(|w| text.contains(w))
    };
    // Every second piece between quotation marks is a text.
    calls || code.lines().flat_map(|l| l.split('"').skip(1).step_by(2)).any(|text| statement(&text))
}

#[test]
fn imports_point_from_the_rim_to_the_middle() {
    let broken: Vec<String> = sources().iter().flat_map(violations).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_rules_would_be_seen_to_be_broken() {
    let broken = |module: &str, code: &str| {
        let source = Source { path: PathBuf::from("x.rs"), module: module.into(), code: compiled(code) };
        violations(&source).len()
    };
    for (module, code) in [
        ("features", "use crate::store::bars;"),
        ("market", "use crate::features::table::Table;"),
        ("api", "use crate::learning::ensemble::train;"),
        ("api", "use crate::{market::bar::Bar, learning};"),
        ("learning", "use crate::jobs::train;"),
        ("forecast", "let now = chrono::Utc::now();"),
        ("publication", "use crate::store::ledger;"),
        ("scenario", "use burn::tensor::Tensor;"),
        ("jobs", "sqlx::query!(\"select 1\")"),
        ("api", "let text = \"delete from ledger\";"),
        ("opinion", "std::env::var(\"X\")"),
        ("rating", "    let x = crate::ingest::parse::parse(p);"),
    ] {
        assert_eq!(broken(module, code), 1, "{module}: {code}");
    }
    for (module, code) in [
        ("api", "use crate::store::ledger;\nuse crate::{market::{bar::Bar, history}, opinion};"),
        ("learning", "use burn::tensor::Tensor;\nuse std::fs;"),
        ("store", "sqlx::query!(\"select 1\")"),
        ("features", "// crate::store\n#[cfg(test)]\nmod tests {\n    use crate::ingest::parse;\n}"),
        ("api", "let text = \"select the fields that you want\";"),
    ] {
        assert_eq!(broken(module, code), 0, "{module}: {code}");
    }
    let library = "pub mod api {\n    #[cfg(test)]\n    pub(crate) mod samples;\n    pub mod signals;\n}\n";
    assert_eq!(only_for_tests(library), ["api/samples.rs"]);
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut broken = vec![];
    for folder in ["src", "tests", "benches"] {
        for path in rust_files(&root().join(folder)) {
            let text = fs::read_to_string(&path).unwrap();
            let lines = text.lines().count();
            if lines > 400 {
                broken.push(format!("{}: {lines} lines, at most 400", path.display()));
            }
            if !text.starts_with("//! ") {
                broken.push(format!("{}: begins without its purpose", path.display()));
            }
            let stem = path.file_stem().unwrap().to_str().unwrap();
            let parts = path.strip_prefix(root()).unwrap().components().map(|c| c.as_os_str().to_str().unwrap());
            if ["mod", "utils", "util", "common", "core", "helpers", "helper", "manager"].contains(&stem)
                || parts.clone().any(|p| ["utils", "common", "core", "helpers", "manager"].contains(&p))
            {
                broken.push(format!("{}: a name that says nothing", path.display()));
            }
            if path.with_extension("").is_dir() {
                broken.push(format!("{}: a folder of that name stands beside it", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_file_belongs_to_a_module_of_the_library() {
    let folder = root().join("src");
    let library = library();
    for path in rust_files(&folder) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let declared = library.contains(&format!("mod {name};")) || ["lib", "main", "modules"].contains(&name);
        assert!(declared, "{} is compiled by nobody", path.display());
    }
}
