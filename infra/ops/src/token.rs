//! `cpis token`: a local issuer, and tokens as its users' sign-in service would give them.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use aws_lc_rs::signature;
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::{Args, Subcommand};
use cpis::domain::{
    authority::AuthorityCode,
    caller::{
        AuthorityCaller, Caller, Device, HealthCaller, JobRole, Organisation, Person, Requester, SafeguardingLead,
    },
    pilot::CLINICAL_ROLES,
};
use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    jwk::{Jwk, PublicKeyUse, ThumbprintHash},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    cli::help,
    failure::{Failure, Outcome, Result, on_file},
    output,
};

/// SDS job roles whose names need not be given, beside the clinical ones.
const OTHER_ROLES: [(&str, &str); 1] = [("R8008", "Admin/Clinical Support Access Role")];

/// Minutes for which the authorizer lets a token live. R28
const LONGEST_LIFE: i64 = 13 * 60;
const KEY_FILE: &str = "issuer-key.pem";
const KEY_SET_FILE: &str = "jwks.json";

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make an issuer: a new signing key (ES256) and the key set to publish
    #[command(after_help = help!("  cpis token init --dir target/issuer

Writes issuer-key.pem, readable by you alone, and jwks.json. Never overwrites either."))]
    Init {
        /// Directory to write to; made if missing
        #[arg(long)]
        dir: PathBuf,
    },
    /// Print a token of somebody in a health care organisation
    #[command(after_help = help!("  cpis token person --user 555000000001 --name 'Alex Example' --org-code ZX001 \\
      --org-name 'Sample Hospital' --job-role R0260 --activity B0107

Activities: B0107 view, unscheduled care, notifies; B0170 view, scheduled care, silent; R0001 and R5105 audit."))]
    Person(PersonArgs),
    /// Print a token of a system, such as an ambulance control's, with the person who answers for it
    #[command(after_help = help!("  cpis token device --asid 200000000001 --org-code ZX002 \\
      --org-name 'Sample Ambulance Control' --responsible 'Sam Sample' --activity B0107 \
      --location 'Sample Street' --lead-name 'Lee Lead' --lead-phone '01632 960001'"))]
    Device(DeviceArgs),
    /// Print a token of a local authority's system
    #[command(after_help = help!("  cpis token authority E06000001"))]
    Authority(AuthorityArgs),
}

/// By whom and for what a token is issued.
#[derive(Debug, Args)]
struct IssuerArgs {
    /// Directory that `cpis token init` made
    #[arg(long, value_name = "DIR", env = "CPIS_ISSUER_DIR")]
    issuer_dir: PathBuf,
    /// Claim `iss`
    #[arg(long, env = "TOKEN_ISSUER")]
    issuer: String,
    /// Claim `aud`
    #[arg(long, env = "TOKEN_AUDIENCE")]
    audience: String,
    /// Minutes for which the token holds, 1 to 780: one that lives for more than 13 hours is refused
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=LONGEST_LIFE))]
    minutes: u32,
}

#[derive(Debug, Args)]
struct OrganisationArgs {
    /// ODS code of the organisation
    #[arg(long)]
    org_code: String,
    /// Its name
    #[arg(long)]
    org_name: String,
    /// RBAC activity, such as B0107; repeat for several
    #[arg(long = "activity", value_name = "CODE", required = true, value_parser = rbac_code)]
    activities: Vec<String>,
}

#[derive(Debug, Args)]
struct PersonArgs {
    /// SDS user id
    #[arg(long)]
    user: String,
    /// Name to show
    #[arg(long)]
    name: String,
    /// SDS role profile id
    #[arg(long, default_value = "555000000000")]
    role_profile: String,
    /// SDS job role code, such as R0260
    #[arg(long, value_name = "CODE", value_parser = rbac_code)]
    job_role: String,
    /// Name of the job role, for a code that this command does not know
    #[arg(long, value_name = "TEXT")]
    job_role_display: Option<String>,
    #[command(flatten)]
    organisation: OrganisationArgs,
    #[command(flatten)]
    issuer: IssuerArgs,
}

#[derive(Debug, Args)]
struct DeviceArgs {
    /// Accredited system id
    #[arg(long)]
    asid: String,
    /// Name of the person who answers for what the device asks
    #[arg(long, value_name = "NAME")]
    responsible: String,
    /// Where the patient is, as the device knows it
    #[arg(long, value_name = "TEXT")]
    location: Option<String>,
    /// Name of who leads safeguarding there
    #[arg(long, value_name = "NAME", requires = "lead_phone")]
    lead_name: Option<String>,
    /// Telephone number of who leads safeguarding there
    #[arg(long, value_name = "NUMBER", requires = "lead_name")]
    lead_phone: Option<String>,
    #[command(flatten)]
    organisation: OrganisationArgs,
    #[command(flatten)]
    issuer: IssuerArgs,
}

#[derive(Debug, Args)]
struct AuthorityArgs {
    /// GSS code of the authority
    #[arg(value_parser = AuthorityCode::parse)]
    code: AuthorityCode,
    #[command(flatten)]
    issuer: IssuerArgs,
}

/// A code of the national RBAC database: `B` or `R` and four digits.
fn rbac_code(text: &str) -> std::result::Result<String, String> {
    let digits = text.strip_prefix(['B', 'R']).unwrap_or_default();
    let fits = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| text.to_owned()).ok_or_else(|| "a code is B or R and four digits, such as B0107 or R0260".into())
}

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    jti: Uuid,
    iat: i64,
    nbf: i64,
    exp: i64,
    cpis: Caller,
}

impl TokenArgs {
    pub(crate) fn run(self, json: bool) -> Result<Outcome> {
        let (issuer, caller) = match self.command {
            TokenCommand::Init { dir } => return init(&dir, json),
            TokenCommand::Person(args) => args.caller()?,
            TokenCommand::Device(args) => args.caller(),
            TokenCommand::Authority(args) => (args.issuer, Caller::Authority(AuthorityCaller { authority: args.code })),
        };
        let now = Timestamp::now();
        let (token, expires) = issuer.token(caller, now)?;
        if json {
            output::json(&serde_json::json!({"token": token, "expires": expires}))?;
        } else {
            output::line(&token)?;
        }
        Ok(Outcome::Done)
    }
}

impl PersonArgs {
    fn caller(self) -> Result<(IssuerArgs, Caller)> {
        let known = CLINICAL_ROLES
            .iter()
            .chain(&OTHER_ROLES)
            .find(|(code, _)| *code == self.job_role)
            .map(|(_, display)| (*display).to_owned());
        let display = self.job_role_display.or(known).ok_or_else(|| {
            let role = &self.job_role;
            Failure::usage(format!("the name of job role {role} is not known here; give it with --job-role-display"))
        })?;
        let requester = Requester::Person(Person {
            user: self.user,
            role_profile: self.role_profile,
            name: self.name,
            job_role: JobRole { code: self.job_role, display },
        });
        Ok((self.issuer, self.organisation.caller(requester)))
    }
}

impl DeviceArgs {
    fn caller(self) -> (IssuerArgs, Caller) {
        let lead = self.lead_name.zip(self.lead_phone);
        let requester = Requester::Device(Device {
            asid: self.asid,
            responsible: self.responsible,
            location: self.location,
            safeguarding_lead: lead.map(|(name, phone)| SafeguardingLead { name, phone }),
        });
        (self.issuer, self.organisation.caller(requester))
    }
}

impl OrganisationArgs {
    fn caller(self, requester: Requester) -> Caller {
        let organisation = Organisation { code: self.org_code, name: self.org_name };
        Caller::Health(HealthCaller { requester, organisation, activities: self.activities })
    }
}

impl IssuerArgs {
    /// A signed token and the moment at which it expires.
    fn token(self, caller: Caller, now: Timestamp) -> Result<(String, Timestamp)> {
        let path = self.issuer_dir.join(KEY_FILE);
        let pem = fs::read(&path)
            .map_err(|e| Failure::error(format!("{}: {e}; make an issuer with `cpis token init`", path.display())))?;
        let key = EncodingKey::from_ec_pem(&pem).map_err(|e| Failure::error(format!("{}: {e}", path.display())))?;
        let expires = now + jiff::SignedDuration::from_mins(self.minutes.into());
        let claims = Claims {
            iss: self.issuer,
            aud: self.audience,
            sub: subject(&caller),
            jti: Uuid::new_v4(),
            iat: now.as_second(),
            nbf: now.as_second(),
            exp: expires.as_second(),
            cpis: caller,
        };
        let header = Header { kid: public_key(&key)?.common.key_id, ..Header::new(Algorithm::ES256) };
        let token = jsonwebtoken::encode(&header, &claims, &key).map_err(unusable)?;
        Ok((token, expires))
    }
}

fn subject(caller: &Caller) -> String {
    match caller {
        Caller::Authority(a) => a.authority.to_string(),
        Caller::Health(h) => match &h.requester {
            Requester::Person(p) => p.user.clone(),
            Requester::Device(d) => d.asid.clone(),
        },
    }
}

/// Makes an issuer.
fn init(dir: &Path, json: bool) -> Result<Outcome> {
    let (key_file, key_set_file) = (dir.join(KEY_FILE), dir.join(KEY_SET_FILE));
    for path in [&key_file, &key_set_file] {
        if path.exists() {
            let path = path.display();
            return Err(Failure::error(format!(
                "{path} exists and is not overwritten; choose another --dir, or remove it yourself"
            )));
        }
    }
    let pem = new_key()?;
    let key = EncodingKey::from_ec_pem(pem.as_bytes()).map_err(unusable)?;
    let public = public_key(&key)?;
    fs::create_dir_all(dir).map_err(on_file(dir))?;
    write_new(&key_file, 0o600, pem.as_bytes())?;
    write_new(
        &key_set_file,
        0o644,
        &serde_json::to_vec_pretty(&serde_json::json!({"keys": [public]})).unwrap_or_default(),
    )?;
    if json {
        output::json(&serde_json::json!({"key": key_file, "keySet": key_set_file, "kid": public.common.key_id}))?;
    } else {
        output::line(&key_set_file.display().to_string())?;
    }
    Ok(Outcome::Done)
}

/// A new private key on P-256, as PKCS #8 PEM.
fn new_key() -> Result<String> {
    let unusable = |_| Failure::error("this machine could not make a key");
    let pair = signature::EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).map_err(unusable)?;
    let der = pair.to_pkcs8v1().map_err(unusable)?;
    let text = STANDARD.encode(der.as_ref());
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for at in (0..text.len()).step_by(64) {
        pem.push_str(&text[at..text.len().min(at + 64)]);
        pem.push('\n');
    }
    Ok(pem + "-----END PRIVATE KEY-----\n")
}

/// The public key as a key set has it; its id is its thumbprint (RFC 7638).
fn public_key(key: &EncodingKey) -> Result<Jwk> {
    let mut public = Jwk::from_encoding_key(key, Algorithm::ES256).map_err(unusable)?;
    public.common.key_id = Some(public.thumbprint(ThumbprintHash::SHA256).map_err(unusable)?);
    public.common.public_key_use = Some(PublicKeyUse::Signature);
    Ok(public)
}

fn unusable(error: jsonwebtoken::errors::Error) -> Failure {
    Failure::error(format!("the issuer's key cannot be used: {error}; make another with `cpis token init`"))
}

fn write_new(path: &Path, mode: u32, content: &[u8]) -> Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    opened.and_then(|mut f| f.write_all(content).and_then(|()| f.sync_all())).map_err(on_file(path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use clap::Parser;
    use jsonwebtoken::{DecodingKey, Validation, jwk::JwkSet};

    use super::*;

    /// A directory that goes when the test ends.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            Self(std::env::temp_dir().join(format!("cpis-token-{}", Uuid::new_v4())))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        token: TokenArgs,
    }

    fn caller(scratch: &Scratch, line: &[&str]) -> Result<(String, Timestamp)> {
        let dir = scratch.0.display().to_string();
        let common = ["--issuer-dir", &dir, "--issuer", "https://issuer.invalid", "--audience", "https://api.invalid"];
        let line = ["cpis"].into_iter().chain(line.iter().copied()).chain(common);
        let (issuer, caller) = match Line::try_parse_from(line).expect("parses").token.command {
            TokenCommand::Person(args) => args.caller()?,
            TokenCommand::Device(args) => args.caller(),
            TokenCommand::Authority(a) => (a.issuer, Caller::Authority(AuthorityCaller { authority: a.code })),
            TokenCommand::Init { .. } => unreachable!("not in these tests"),
        };
        issuer.token(caller, Timestamp::now())
    }

    fn verified(scratch: &Scratch, token: &str) -> Claims {
        let set: JwkSet =
            serde_json::from_slice(&fs::read(scratch.0.join(KEY_SET_FILE)).expect("there")).expect("a set");
        let kid = jsonwebtoken::decode_header(token).expect("a header").kid.expect("a key id");
        let key = DecodingKey::from_jwk(set.find(&kid).expect("in the set")).expect("usable");
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&["https://api.invalid"]);
        validation.set_issuer(&["https://issuer.invalid"]);
        validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        validation.validate_nbf = true;
        jsonwebtoken::decode::<Claims>(token, &key, &validation).expect("verifies").claims
    }

    #[test]
    fn tokens_verify_against_the_published_key_set_and_say_who() {
        let scratch = Scratch::new();
        init(&scratch.0, false).expect("made");
        let person = "person --user 555000000001 --name Alex --org-code ZX001 --org-name Sample --job-role R0260 \
                      --activity B0107 --activity B0170 --minutes 5";
        let device = "device --asid 200000000001 --org-code ZX002 --org-name Sample --responsible Sam --activity B0107";
        let control = format!("{device} --location Street --lead-name Lee --lead-phone 01632960001");
        for (line, sub, expected) in [
            (
                person,
                "555000000001",
                serde_json::json!({
                    "person": {"user": "555000000001", "roleProfile": "555000000000", "name": "Alex",
                        "jobRole": {"code": "R0260", "display": "General Medical Practitioner"}},
                    "organisation": {"code": "ZX001", "name": "Sample"}, "activities": ["B0107", "B0170"]
                }),
            ),
            (
                device,
                "200000000001",
                serde_json::json!({
                    "device": {"asid": "200000000001", "responsible": "Sam"},
                    "organisation": {"code": "ZX002", "name": "Sample"}, "activities": ["B0107"]
                }),
            ),
            (
                &control,
                "200000000001",
                serde_json::json!({
                    "device": {"asid": "200000000001", "responsible": "Sam", "location": "Street",
                        "safeguardingLead": {"name": "Lee", "phone": "01632960001"}},
                    "organisation": {"code": "ZX002", "name": "Sample"}, "activities": ["B0107"]
                }),
            ),
            ("authority E06000001", "E06000001", serde_json::json!({"authority": "E06000001"})),
        ] {
            let line: Vec<_> = line.split_whitespace().collect();
            let (token, expires) = caller(&scratch, &line).expect("made");
            let claims = verified(&scratch, &token);
            assert_eq!((claims.sub.as_str(), claims.exp), (sub, expires.as_second()));
            assert_eq!(claims.exp - claims.iat, if sub == "555000000001" { 300 } else { 3600 });
            assert_eq!(serde_json::to_value(claims.cpis).expect("JSON"), expected);
        }
    }

    #[test]
    fn an_issuer_is_never_overwritten_and_its_key_is_private() {
        let scratch = Scratch::new();
        init(&scratch.0, false).expect("made");
        let read = |name| fs::read(scratch.0.join(name)).expect("there");
        let before = [read(KEY_FILE), read(KEY_SET_FILE)];
        assert!(init(&scratch.0, false).is_err());
        fs::remove_file(scratch.0.join(KEY_SET_FILE)).expect("removed");
        assert!(init(&scratch.0, false).is_err());
        assert_eq!(read(KEY_FILE), before[0]);
        let mode = fs::metadata(scratch.0.join(KEY_FILE)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let set: serde_json::Value = serde_json::from_slice(&before[1]).expect("JSON");
        let key = &set["keys"][0];
        assert_eq!((&key["alg"], &key["use"], &key["crv"]), (&"ES256".into(), &"sig".into(), &"P-256".into()));
        assert!(key["kid"].as_str().is_some_and(|kid| kid.len() == 43) && key.get("d").is_none());
    }

    #[test]
    fn a_job_role_without_a_known_name_needs_one() {
        let scratch = Scratch::new();
        init(&scratch.0, false).expect("made");
        let line = "person --user 1 --name A --org-code ZX001 --org-name S --activity B0107 --job-role R9999";
        let line: Vec<_> = line.split_whitespace().collect();
        assert!(matches!(caller(&scratch, &line), Err(Failure::Usage(_))));
        let named = [&line[..], &["--job-role-display", "Health Advisor"]].concat();
        assert!(caller(&scratch, &named).is_ok());
    }

    #[test]
    fn without_an_issuer_the_error_says_how_to_make_one() {
        let failure = caller(&Scratch::new(), &["authority", "E06000001"]).expect_err("no key");
        assert!(failure.to_string().contains("cpis token init"), "{failure}");
    }
}
