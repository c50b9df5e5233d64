//! The shape of messages: formats to domain and back. No I/O.

pub mod audit;
pub mod audit_search;
pub mod csv_export;
pub mod fhir;
pub mod mailbox;
pub mod mesh;
pub mod search;
pub mod strict;
pub mod upload;
pub mod webhook;
