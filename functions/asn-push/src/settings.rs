//! What the environment says of receivers and of MESH.

use cpis::{
    domain::receiver::Reach,
    lambda::config::{self, ConfigError},
    out::MeshConfig,
    usecase::push::CLAIM,
};

/// Bytes in a chunk of a MESH message before compression. MESH takes 100 MB; a function has to hold it.
const CHUNK_BYTES: usize = 5 << 20;

/// Whether receivers on this machine are allowed. A deployed function must never reach its own machine, where Lambda's own
/// interfaces listen: so the switch counts only where AWS itself is on this machine, which is a local emulator.
pub(crate) fn reach() -> Result<Reach, ConfigError> {
    const NAME: &str = "PUSH_LOCAL_RECEIVERS";
    let endpoint = std::env::var("AWS_ENDPOINT_URL").unwrap_or_default();
    reach_of(&config::required(NAME)?, &endpoint).map_err(|problem| ConfigError::wrong(NAME, problem))
}

fn reach_of(switch: &str, endpoint: &str) -> Result<Reach, &'static str> {
    let local = ["http://127.0.0.1:", "http://localhost:"].iter().any(|prefix| endpoint.starts_with(prefix));
    match switch {
        "false" => Ok(Reach::Internet),
        "true" if local => Ok(Reach::ThisMachineToo),
        "true" => Err("is for a local emulator only, and AWS_ENDPOINT_URL names none"),
        _ => Err("is neither true nor false"),
    }
}

/// For how long a push is one process's own. Tests that kill processes do not wait for it.
pub(crate) fn claim_seconds() -> Result<u32, ConfigError> {
    const NAME: &str = "PUSH_CLAIM_SECONDS";
    if std::env::var_os(NAME).is_none() { Ok(CLAIM) } else { config::required_number(NAME) }
}

/// Our MESH mailbox; absent where `MESH_URL` is.
pub(crate) fn mesh() -> Result<Option<MeshConfig>, ConfigError> {
    let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let Some(url) = text("MESH_URL") else { return Ok(None) };
    let chunk_bytes = match text("MESH_CHUNK_BYTES") {
        None => CHUNK_BYTES,
        Some(bytes) => bytes.parse().map_err(|_| ConfigError::wrong("MESH_CHUNK_BYTES", "is not a whole number"))?,
    };
    let (mailbox, workflow) = (config::required("MESH_MAILBOX")?, config::required("MESH_WORKFLOW_ID")?);
    Ok(Some(MeshConfig { url, mailbox, workflow, chunk_bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r74_this_machine_is_reached_from_a_local_emulator_only() {
        for (switch, endpoint, reach) in [
            ("false", "http://127.0.0.1:4566", Ok(Reach::Internet)),
            ("false", "", Ok(Reach::Internet)),
            ("true", "http://127.0.0.1:4566", Ok(Reach::ThisMachineToo)),
            ("true", "http://localhost:4566", Ok(Reach::ThisMachineToo)),
            ("true", "", Err(())),
            ("true", "https://dynamodb.eu-west-2.amazonaws.com", Err(())),
            ("true", "http://127.0.0.1.evil.example:80", Err(())),
            ("yes", "http://127.0.0.1:4566", Err(())),
        ] {
            assert_eq!(reach_of(switch, endpoint).map_err(drop), reach, "{switch} {endpoint}");
        }
    }
}
