//! The rules: pure values and functions. No I/O, no async, no clock.

pub mod access;
pub mod ageing;
pub mod audit;
pub mod audit_search;
pub mod authority;
pub mod caller;
pub mod circuit;
pub mod contact;
pub mod entry;
pub mod nhs_number;
pub mod notice;
pub mod notification;
pub mod pilot;
pub mod plan;
pub mod policy;
pub mod reading;
pub mod receiver;
pub mod record;
pub mod setting;
pub mod signal;
pub mod standing;
pub mod time;
pub mod upload;
pub mod watch;
pub mod ways_out;
