//! What nobody may reach, seen from outside: the release binaries run as Lambda runs them, and are asked for everything by everybody.

#[path = "../template/model.rs"]
#[allow(dead_code)] // The template's own checks use the rest.
mod model;
mod needed;
mod privilege;
mod tenants;
