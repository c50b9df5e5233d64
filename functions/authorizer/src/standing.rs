//! How a caller stands in the directory (R36).

use cpis::{
    domain::{
        caller::Caller,
        contact::date_in_england,
        standing::{AuthorityStanding, HealthStanding, Standing},
    },
    ports::{Directory, PortResult, SettingDirectory},
};
use jiff::Timestamp;

/// Reads the caller's entry, and the pilots where some of its care is seen in pilots only.
///
/// # Errors
/// Where the directory cannot be read.
pub(crate) async fn of<D: Directory + SettingDirectory>(
    directory: &D,
    caller: &Caller,
    now: Timestamp,
) -> PortResult<Standing> {
    let caller = match caller {
        Caller::Authority(own) => {
            let status = directory.authority(&own.authority).await?.map(|entry| entry.status);
            return Ok(Standing::Authority(AuthorityStanding::from(status)));
        }
        Caller::Health(caller) => caller,
    };
    let code = &caller.organisation.code;
    let setting = directory.setting(code).await?;
    let today = date_in_england(now);
    let in_pilots = |care: &[cpis::domain::setting::CareKind]| care.iter().any(|k| k.class_on(today).only_in_pilots());
    let pilots = match &setting {
        Some(setting) if in_pilots(&setting.care) => directory.pilots().await?,
        _ => Vec::new(),
    };
    let pilots = pilots.iter().filter_map(|pilot| pilot.part_of(code)).collect();
    Ok(Standing::Health(HealthStanding { setting, pilots }))
}
