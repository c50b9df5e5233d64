//! `cpis ways`: how an authority is told beside its mailbox.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use clap::{Args, Subcommand};
use cpis::{
    domain::{
        audit::{Entry, kind},
        authority::{Authority, AuthorityCode},
        receiver::{Reach, ReceiverUrl},
        ways_out::{MeshBox, WaysOut, Webhook},
    },
    ports::{AuditLog, PushSecrets},
    wire::webhook::WebhookKey,
};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    cli::help,
    failure::{Failure, Outcome, Result, on_aws},
    operator::Operator,
    output,
    stack::{Stack, StackArgs},
};

/// The longest id of a MESH mailbox.
const LONGEST_MAILBOX: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct WaysArgs {
    #[command(subcommand)]
    command: WaysCommand,
    #[command(flatten)]
    stack: StackArgs,
}

#[derive(Debug, Subcommand)]
enum WaysCommand {
    /// Show what an authority chose beside its mailbox
    #[command(after_help = help!("  cpis ways show E06000001
  cpis ways show E06000001 --json"))]
    Show {
        /// GSS code of the authority
        code: String,
    },
    /// Set an authority's webhook or MESH mailbox, or take it away
    #[command(after_help = help!("  cpis ways set E06000001 --webhook https://hooks.council.example/cpis --because 'their request of 3 May'
  cpis ways set E06000001 --mesh X26ABC1 --because 'their request of 3 May'
  cpis ways set E06000001 --second-mesh X26ABC2 --because 'their duty team'
  cpis ways set E06000001 --no-webhook --because 'they read the mailbox'

It counts for notifications delivered from then on, within a minute. The mailbox has every notification, whatever is set."))]
    Set(SetArgs),
    /// Print the key that an authority's webhooks are signed with, or change it
    #[command(after_help = help!("  cpis ways key E06000001
  cpis ways key E06000001 --rotate --because 'once a year'
  cpis ways key E06000001 --settle --because 'they verify with the new one'

After --rotate two keys sign, the new one is printed first; --settle ends that."))]
    Key(KeyArgs),
}

#[derive(Debug, Args)]
struct SetArgs {
    /// GSS code of the authority
    code: String,
    /// Address of its webhook: https, port 443 or 8443, a public name
    #[arg(long, value_name = "URL", conflicts_with = "no_webhook")]
    webhook: Option<String>,
    /// No webhook any more
    #[arg(long)]
    no_webhook: bool,
    /// Its MESH mailbox
    #[arg(long, value_name = "MAILBOX", conflicts_with = "no_mesh", value_parser = mailbox)]
    mesh: Option<String>,
    /// No MESH any more
    #[arg(long)]
    no_mesh: bool,
    /// Address of the second contact's webhook: told of what is left unread for too long
    #[arg(long, value_name = "URL", conflicts_with = "no_second_webhook")]
    second_webhook: Option<String>,
    /// No second contact by webhook any more
    #[arg(long)]
    no_second_webhook: bool,
    /// The second contact's MESH mailbox
    #[arg(long, value_name = "MAILBOX", conflicts_with = "no_second_mesh", value_parser = mailbox)]
    second_mesh: Option<String>,
    /// No second contact by MESH any more
    #[arg(long)]
    no_second_mesh: bool,
    #[command(flatten)]
    operator: Operator,
}

#[derive(Debug, Args)]
struct KeyArgs {
    /// GSS code of the authority
    code: String,
    /// Make a new key; the old one signs too, until --settle
    #[arg(long, conflicts_with = "settle")]
    rotate: bool,
    /// Let the newest key alone sign
    #[arg(long)]
    settle: bool,
    #[command(flatten)]
    operator: Operator,
}

fn mailbox(text: &str) -> std::result::Result<String, String> {
    let plain = !text.is_empty() && text.len() <= LONGEST_MAILBOX && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if plain { Ok(text.to_ascii_uppercase()) } else { Err("a MESH mailbox is letters and digits, 20 at most".into()) }
}

fn authority_code(text: &str) -> Result<AuthorityCode> {
    AuthorityCode::parse(text).map_err(|e| Failure::usage(e.to_string()))
}

impl WaysArgs {
    pub(crate) async fn run(self, json: bool) -> Result<Outcome> {
        match self.command {
            WaysCommand::Show { code } => {
                let directory = Entries { stack: self.stack.open().await?, code: authority_code(&code)? };
                print(&directory.read().await?, json)?;
            }
            WaysCommand::Set(args) => {
                let code = authority_code(&args.code)?;
                let why = args.operator.because("setting a way out")?;
                let changed = args.check()?;
                let directory = Entries { stack: self.stack.open().await?, code };
                let ways = changed.applied_to(directory.read().await?);
                directory.write(&ways, &args.operator, why).await?;
                print(&ways, json)?;
            }
            WaysCommand::Key(args) => args.run(&self.stack, json).await?,
        }
        Ok(Outcome::Done)
    }
}

/// What is to be changed; `Some(None)` takes a way away.
#[derive(Debug, Default)]
struct Change {
    webhook: Option<Option<String>>,
    mesh: Option<Option<String>>,
    second_webhook: Option<Option<String>>,
    second_mesh: Option<Option<String>>,
}

impl SetArgs {
    fn check(&self) -> Result<Change> {
        for (name, url) in [("--webhook", &self.webhook), ("--second-webhook", &self.second_webhook)] {
            let Some(url) = url else { continue };
            // As strict as what sends; only a local emulator may be told of this machine.
            ReceiverUrl::parse(url, reach()).map_err(|refused| Failure::usage(format!("{name}: {refused}")))?;
        }
        let told = |set: &Option<String>, none: bool| set.clone().map(Some).or(none.then_some(None));
        let change = Change {
            webhook: told(&self.webhook, self.no_webhook),
            mesh: told(&self.mesh, self.no_mesh),
            second_webhook: told(&self.second_webhook, self.no_second_webhook),
            second_mesh: told(&self.second_mesh, self.no_second_mesh),
        };
        if change.is_empty() {
            return Err(Failure::usage("say what to set, such as --webhook, --mesh or --no-webhook; see --help"));
        }
        Ok(change)
    }
}

/// What `asn-push` would reach: this machine too where AWS itself is on it.
fn reach() -> Reach {
    let endpoint = std::env::var("AWS_ENDPOINT_URL").unwrap_or_default();
    let local = ["http://127.0.0.1:", "http://localhost:"].iter().any(|prefix| endpoint.starts_with(prefix));
    if local { Reach::ThisMachineToo } else { Reach::Internet }
}

impl Change {
    const fn is_empty(&self) -> bool {
        self.webhook.is_none() && self.mesh.is_none() && self.second_webhook.is_none() && self.second_mesh.is_none()
    }

    fn applied_to(self, held: WaysOut) -> WaysOut {
        let keys = signing(&held).map(<[u32]>::to_vec);
        WaysOut {
            webhook: webhook_after(self.webhook, held.webhook, keys.as_deref()),
            mesh: mesh_after(self.mesh, held.mesh),
            second_webhook: webhook_after(self.second_webhook, held.second_webhook, keys.as_deref()),
            second_mesh: mesh_after(self.second_mesh, held.second_mesh),
        }
    }
}

/// Another address keeps its keys: the authority need not change what it verifies with.
fn webhook_after(change: Option<Option<String>>, held: Option<Webhook>, keys: Option<&[u32]>) -> Option<Webhook> {
    let Some(url) = change else { return held };
    url.map(|url| match keys {
        Some(keys) => Webhook { url, keys: keys.to_vec() },
        None => Webhook::at(url),
    })
}

fn mesh_after(change: Option<Option<String>>, held: Option<MeshBox>) -> Option<MeshBox> {
    change.map_or(held, |mesh| mesh.map(|mailbox| MeshBox { mailbox }))
}

impl KeyArgs {
    async fn run(self, stack: &StackArgs, json: bool) -> Result<()> {
        let code = authority_code(&self.code)?;
        let why = if self.rotate || self.settle { self.operator.because("changing a key")? } else { "" };
        let directory = Entries { stack: stack.open().await?, code };
        let mut ways = directory.read().await?;
        let Some(numbers) = signing(&ways).map(<[u32]>::to_vec) else {
            return Err(Failure::error(format!("{} has no webhook; see `cpis ways set --help`", self.code)));
        };
        let numbers = if self.rotate || self.settle { turned(&numbers, self.rotate) } else { numbers };
        if self.rotate || self.settle {
            // The same keys sign for both contacts, so that an authority has one secret to keep.
            for webhook in [&mut ways.webhook, &mut ways.second_webhook].into_iter().flatten() {
                webhook.keys.clone_from(&numbers);
            }
            directory.write(&ways, &self.operator, why).await?;
        }
        let keys = directory.keys(&numbers).await?;
        if json {
            output::json(&keys)?
        } else {
            output::line(&keys.join("\n"))?
        }
        Ok(())
    }
}

/// Numbers of the keys that sign an authority's webhooks; none where it has no webhook.
fn signing(ways: &WaysOut) -> Option<&[u32]> {
    ways.webhook.as_ref().or(ways.second_webhook.as_ref()).map(|webhook| webhook.keys.as_slice())
}

/// The keys that sign after a change: a new one beside the newest, or the newest alone.
fn turned(keys: &[u32], rotate: bool) -> Vec<u32> {
    let newest = keys.first().copied().unwrap_or(1);
    if rotate { vec![newest.saturating_add(1), newest] } else { vec![newest] }
}

/// An authority's entry in the directory.
struct Entries {
    stack: Stack,
    code: AuthorityCode,
}

impl Entries {
    fn key(&self) -> [(&'static str, AttributeValue); 2] {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        [("kind", text("authority")), ("code", text(self.code.as_str()))]
    }

    fn unknown(&self) -> Failure {
        Failure::error(format!("the directory has no authority {}; see `cpis directory list`", self.code))
    }

    async fn read(&self) -> Result<WaysOut> {
        let get =
            self.stack.dynamodb().get_item().table_name(self.stack.output("DirectoryTable")?).consistent_read(true);
        let get = get.set_key(Some(HashMap::from(self.key().map(|(name, value)| (name.to_owned(), value)))));
        let found = get.send().await.map_err(on_aws("read the directory"))?;
        let item = found.item.ok_or_else(|| self.unknown())?;
        let authority: Authority = serde_dynamo::from_item(item)
            .map_err(|e| Failure::error(format!("the directory's entry of {} cannot be read: {e}", self.code)))?;
        Ok(authority.ways_out)
    }

    /// Writes what was chosen, once the audit log has it.
    async fn write(&self, ways: &WaysOut, operator: &Operator, why: &str) -> Result<()> {
        let chosen = ways.ways().chain(ways.second_ways()).map(|way| way.name()).collect::<Vec<_>>().join(",");
        let entry = Entry::new(Uuid::new_v4(), Timestamp::now(), kind::DIRECTORY_CHANGE, operator.actor()?, "")
            .with("entry", format!("authority {}", self.code))
            .with("ways", chosen)
            .with("why", why);
        let told = self.stack.audit_log()?.append(&[entry]).await;
        told.map_err(|e| Failure::error(format!("cannot write to the audit log, and nothing is done untold: {e}")))?;
        let value = serde_dynamo::to_attribute_value(ways).map_err(|e| Failure::error(e.to_string()))?;
        let update = self.stack.dynamodb().update_item().table_name(self.stack.output("DirectoryTable")?);
        let update = update.set_key(Some(HashMap::from(self.key().map(|(name, value)| (name.to_owned(), value)))));
        let update = update.condition_expression("attribute_exists(#code)").expression_attribute_names("#code", "code");
        let update = update.update_expression("SET waysOut = :ways").expression_attribute_values(":ways", value);
        update.send().await.map(drop).map_err(|e| match e.as_service_error() {
            Some(refused) if refused.is_conditional_check_failed_exception() => self.unknown(),
            _ => on_aws("write to the directory")(e),
        })
    }

    /// The keys of these numbers, as the authority verifies with them.
    async fn keys(&self, numbers: &[u32]) -> Result<Vec<String>> {
        let client = aws_sdk_secretsmanager::Client::new(&self.stack.config);
        let get = client.get_secret_value().secret_id(self.stack.output("PushSecretArn")?);
        let found = get.send().await.map_err(on_aws("read the secret of the webhooks' keys"))?;
        let secrets: Option<PushSecrets> = found.secret_string().and_then(|text| serde_json::from_str(text).ok());
        let master = secrets.map(|secrets| secrets.master).filter(|master| !master.is_empty());
        let master = master.ok_or_else(|| {
            Failure::error("the secret of the webhooks' keys is not as it should be; see infra/runbooks/push.md")
        })?;
        Ok(numbers.iter().map(|number| WebhookKey::derive(&master, &self.code, *number).text()).collect())
    }
}

fn print(ways: &WaysOut, json: bool) -> Result<()> {
    if json {
        return Ok(output::json(ways)?);
    }
    output::line("mailbox  always")?;
    if let Some(webhook) = &ways.webhook {
        let keys = webhook.keys.iter().map(u32::to_string).collect::<Vec<_>>().join(" and ");
        output::line(&format!("webhook  {}  signed with key {keys}", webhook.url))?;
    }
    if let Some(mesh) = &ways.mesh {
        output::line(&format!("mesh     {}", mesh.mailbox))?;
    }
    if let Some(webhook) = &ways.second_webhook {
        output::line(&format!("second contact by webhook  {}", webhook.url))?;
    }
    if let Some(mesh) = &ways.second_mesh {
        output::line(&format!("second contact by mesh     {}", mesh.mailbox))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> WaysOut {
        WaysOut {
            webhook: Some(Webhook { url: "https://council.example/old".into(), keys: vec![3, 2] }),
            mesh: Some(MeshBox { mailbox: "X26ABC1".into() }),
            second_webhook: None,
            second_mesh: Some(MeshBox { mailbox: "X26ABC3".into() }),
        }
    }

    #[test]
    fn what_is_not_named_stays_as_it_is() {
        let new = "https://council.example/new".to_owned();
        let webhook = Change { webhook: Some(Some(new.clone())), ..Change::default() }.applied_to(held());
        assert_eq!(webhook.webhook, Some(Webhook { url: new.clone(), keys: vec![3, 2] }), "its keys stay");
        assert_eq!(webhook.mesh, held().mesh);
        let none = Change { webhook: Some(None), ..Change::default() }.applied_to(held());
        assert_eq!((none.webhook, none.mesh, none.second_mesh), (None, held().mesh, held().second_mesh));
        let mesh = Change { mesh: Some(Some("X26ABC2".into())), ..Change::default() }.applied_to(WaysOut::default());
        assert_eq!(mesh, WaysOut { mesh: Some(MeshBox { mailbox: "X26ABC2".into() }), ..WaysOut::default() });
        let first = Change { webhook: Some(Some(new.clone())), ..Change::default() }.applied_to(WaysOut::default());
        assert_eq!(first.webhook, Some(Webhook::at(new)));
    }

    #[test]
    fn r74_a_key_is_changed_in_two_steps() {
        let both = turned(&[1], true);
        assert_eq!(both, [2, 1]);
        assert_eq!(turned(&both, false), [2]);
        assert_eq!(turned(&both, true), [3, 2], "no more than two sign");
    }

    #[test]
    fn mailboxes() {
        assert_eq!(mailbox("x26abc1"), Ok("X26ABC1".into()));
        for bad in ["", "X26 ABC", "X26/ABC", &"A".repeat(21)] {
            assert!(mailbox(bad).is_err(), "{bad}");
        }
    }
}
