//! What the operator's command can call, by its own sources: each of its commands, each operation of an SDK that they name, and each
//! that the adapters name behind the ports that they use. None of it is a list that somebody keeps.

use super::super::*;
use super::operation;
use cpis_tests::{
    binaries::{cpis, workspace},
    proxy::Call,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

/// Commands that work on copies, and call nothing.
const WITHOUT_THE_SYSTEM: [&str; 2] = ["audit prove", "audit verify"];

/// Operations by the names of the methods that call them.
type Operations = BTreeMap<String, String>;

/// An operation, and where the adapter names it the table that it is on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Needed {
    operation: String,
    table: Option<String>,
}

impl Needed {
    /// Whether one of these calls is one.
    fn is_among(&self, struck: &[&Call]) -> bool {
        let on = |call: &&&Call| {
            let is_on = |table: &String| call.needs.iter().any(|(_, on)| on.split('/').next() == Some(table));
            self.table.as_ref().is_none_or(is_on)
        };
        struck.iter().filter(|call| operation(call) == self.operation).any(|call| on(&call))
    }
}

/// What no scene strikes: commands that none runs, and operations that none of these calls is.
pub(super) fn missed(scenes: &[&[&str]], struck: &[&Call], python: &str) -> Vec<String> {
    let commands = leaves(&mut Vec::new()).into_iter();
    let unrun = commands.filter(|leaf| !WITHOUT_THE_SYSTEM.contains(&leaf.join(" ").as_str()));
    let unrun = unrun.filter(|leaf| !scenes.iter().any(|scene| is_of(scene, leaf)));
    let unrun: Vec<_> = unrun.map(|leaf| format!("cpis {} is in no scene", leaf.join(" "))).collect();
    let needed = needed(&Sources::read(), &operations(python)).into_iter();
    let unstruck = needed.filter(|needed| !needed.is_among(struck));
    unrun.into_iter().chain(unstruck.map(|needed| format!("cpis calls {needed:?}, which no fault struck"))).collect()
}

fn is_of(scene: &[&str], leaf: &[String]) -> bool {
    let names = scene.iter().filter(|argument| !argument.starts_with('-'));
    names.take(leaf.len()).eq(leaf)
}

/// The commands that work on a stack, by what `--help` says.
fn leaves(names: &mut Vec<String>) -> Vec<Vec<String>> {
    let told = Command::new(cpis()).args(&*names).arg("--help").output().expect("cpis starts");
    let told = String::from_utf8(told.stdout).expect("text");
    let Some((_, commands)) = told.split_once("\nCommands:\n") else {
        return if told.contains("--stack ") { vec![names.clone()] } else { Vec::new() };
    };
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let own = commands.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let own: Vec<_> = own.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    let of = |name: &str| {
        names.push(name.to_owned());
        let found = leaves(names);
        names.pop();
        found
    };
    own.into_iter().flat_map(of).collect()
}

/// Every operation of the services whose SDKs the command has, as AWS itself describes them.
fn operations(python: &str) -> Operations {
    let manifest = std::fs::read_to_string(workspace().join("infra/ops/Cargo.toml")).expect("a manifest");
    let services = manifest.lines().filter_map(|line| line.strip_prefix("aws-sdk-")?.split('.').next());
    let script = "import sys, botocore, botocore.session\n\
                  session = botocore.session.get_session()\n\
                  for service in sys.argv[1:]:\n    \
                      for name in session.get_service_model(service).operation_names:\n        \
                          print(botocore.xform_name(name), name)\n";
    let told = Command::new(python).args(["-c", script]).args(services).output().expect("python starts");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told = String::from_utf8(told.stdout).expect("text");
    told.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(one, other)| (one.to_owned(), other.to_owned()))
        .collect()
}

/// Sources of what ships, without their tests.
struct Sources {
    /// Of the command.
    command: Vec<String>,
    /// Of the use cases, each with its name.
    usecases: Vec<(String, String)>,
    /// Of the adapters, as one.
    adapters: String,
}

impl Sources {
    fn read() -> Self {
        let named = |path: &PathBuf| path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        Self {
            command: files("infra/ops/src").iter().map(shipped).collect(),
            usecases: files("shared/src/usecase").iter().map(|path| (named(path), shipped(path))).collect(),
            adapters: files("shared/src/aws").iter().map(shipped).collect(),
        }
    }

    /// Whether the command, or a use case that it names, calls a method of this name.
    fn calls(&self, method: &str) -> bool {
        let call = format!(".{method}(");
        let is_used = |name: &str| self.command.iter().any(|text| text.contains(&format!("usecase::{name}")));
        let usecases = self.usecases.iter().filter(|(name, _)| is_used(name)).map(|(_, text)| text);
        self.command.iter().chain(usecases).any(|text| text.contains(&call))
    }
}

fn files(directory: &str) -> Vec<PathBuf> {
    fn add(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                add(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    add(&workspace().join(directory), &mut found);
    found
}

/// The text of a file up to its tests, which stand at the end (rustfmt's layout is relied on).
fn shipped(path: &PathBuf) -> String {
    let text = std::fs::read_to_string(path).expect("a source");
    let ends =
        ["mod ", "pub(super) mod "].into_iter().filter_map(|module| text.find(&format!("\n#[cfg(test)]\n{module}")));
    text[..ends.min().unwrap_or(text.len())].to_owned()
}

/// What the command calls by itself, and through the ports.
fn needed(sources: &Sources, operations: &Operations) -> BTreeSet<Needed> {
    // A file that sends nothing calls nothing.
    let own = sources.command.iter().filter(|text| text.contains(".send()"));
    let own = own.flat_map(|text| named(text, operations)).map(|operation| Needed { operation, table: None });
    own.chain(through_ports(sources, operations)).collect()
}

fn named<'a>(text: &'a str, operations: &'a Operations) -> impl Iterator<Item = String> + 'a {
    let is_called = move |method: &str| text.contains(&format!(".{method}()"));
    operations.iter().filter(move |(method, _)| is_called(method)).map(|(_, operation)| operation.clone())
}

/// Of each port that the command names, what its adapter calls for the methods that are called.
fn through_ports(sources: &Sources, operations: &Operations) -> Vec<Needed> {
    let mut found = Vec::new();
    for part in sources.adapters.split("\nimpl ").skip(1) {
        let Some((port, rest)) = part.split_once(" for ") else { continue };
        if !sources.command.iter().any(|text| has_port(text, port)) {
            continue;
        }
        let body = rest.split("\n}\n").next().unwrap_or_default();
        for method in body.split("    async fn ").skip(1) {
            if sources.calls(name(method)) {
                behind(method, sources, operations, &mut BTreeSet::new(), &mut found);
            }
        }
    }
    found
}

/// Whether a file takes a port into use.
fn has_port(text: &str, port: &str) -> bool {
    let words = |rest: &str| {
        rest.split(';').next().is_some_and(|used| used.split(|c: char| !c.is_alphanumeric()).any(|word| word == port))
    };
    text.split("ports::").skip(1).any(words)
}

fn name(function: &str) -> &str {
    function.split(['(', '<']).next().unwrap_or_default()
}

/// What a function of an adapter calls, and those that it calls.
fn behind<'a>(
    function: &'a str,
    sources: &'a Sources,
    operations: &Operations,
    seen: &mut BTreeSet<&'a str>,
    found: &mut Vec<Needed>,
) {
    let table = function.split("self.tables.").nth(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next());
    let table = table.flatten().map(str::to_owned);
    found.extend(named(function, operations).map(|operation| Needed { operation, table: table.clone() }));
    for call in function.split("self.").skip(1) {
        let called = name(call);
        if called.is_empty() || !call[called.len()..].starts_with('(') || !seen.insert(called) {
            continue;
        }
        let heading = format!("fn {called}(");
        let Some((_, rest)) = sources.adapters.split_once(heading.as_str()) else { continue };
        let body = rest.split("\n    }\n").next().unwrap_or_default();
        behind(body, sources, operations, seen, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations() -> Operations {
        let known =
            [("get_item", "GetItem"), ("put_item", "PutItem"), ("query", "Query"), ("send_message", "SendMessage")];
        known.map(|(method, operation)| (method.to_owned(), operation.to_owned())).into()
    }

    fn sources(command: &str) -> Sources {
        let adapters = "\nimpl Log for Dynamo {\n    async fn append(&self) -> R {\n        self.head().await\n    }\n\n    \
                        async fn never(&self) -> R {\n        self.client.query().table_name(&self.tables.log).send()\n    }\n}\n\
                        \nimpl Other for Dynamo {\n    async fn append(&self) -> R {\n        self.client.put_item().send()\n    }\n}\n\
                        \nimpl Dynamo {\n    async fn head(&self) -> R {\n        self.client.get_item().table_name(&self.tables.log).send()\n    }\n}\n";
        let usecases = vec![("told".to_owned(), "log.append(x)".to_owned())];
        Sources { command: vec![command.to_owned()], usecases, adapters: adapters.to_owned() }
    }

    #[test]
    fn what_is_called_is_found_in_the_command_and_behind_its_ports() {
        let of = |command: &str| {
            let needed = needed(&sources(command), &operations()).into_iter();
            needed.map(|n| format!("{} {}", n.operation, n.table.unwrap_or_default())).collect::<Vec<_>>()
        };
        assert_eq!(of("let call = sqs.send_message(); call.send()"), ["SendMessage "]);
        assert_eq!(of("plan.query()"), [""; 0], "a file that sends nothing calls nothing");
        assert_eq!(of("use ports::{Log, Any}; log.append(x)"), ["GetItem log"]);
        assert_eq!(of("use ports::Log; usecase::told::tell(log)"), ["GetItem log"]);
        assert_eq!(of("use ports::Log;"), [""; 0], "none of its methods is called");
    }

    #[test]
    fn what_is_not_struck_is_missed() {
        let call = |operation: &str, on: &str| Call {
            operation: operation.into(),
            needs: vec![(format!("dynamodb:{operation}"), on.to_owned())],
        };
        let needed = |table: Option<&str>| Needed { operation: "Query".into(), table: table.map(str::to_owned) };
        let (audit, mailbox) = (call("Query", "audit"), call("Query", "mailbox/index/by-time"));
        assert!(needed(None).is_among(&[&audit]) && needed(Some("mailbox")).is_among(&[&audit, &mailbox]));
        assert!(!needed(Some("mailbox")).is_among(&[&audit, &call("GetItem", "mailbox")]));
        assert!(is_of(&["dlq", "--pushes", "list"], &["dlq".to_owned(), "list".to_owned()]));
        assert!(!is_of(&["dlq", "list"], &["dlq".to_owned(), "show".to_owned()]));
    }
}
