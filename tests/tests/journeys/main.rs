//! The register's journeys: real HTTP against the release binaries on a running stack, by the people who make them.
//!
//! Each has authorities and children of its own, so that all run at once on one stack. `make test` starts that and runs them;
//! afterwards `leak` searches what was written meanwhile.

mod audit;
mod audit_search;
mod dead_letters;
mod life;
mod limits;
mod look_up;
mod notices;
mod notification;
mod policy;
mod push;
mod register;
mod sweep;
mod tenants;
mod upload;
