//! Names to addresses, of which only public ones are let through: what is connected to is exactly what was checked, so a name
//! that stands for another address a moment later gains nothing by it.

use std::{net::SocketAddr, sync::Arc};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::domain::receiver::{Reach, may_be_reached};

/// A name stands for an address that must not be connected to.
#[derive(Debug, thiserror::Error)]
#[error("the name stands for an address that is not public")]
pub(super) struct AddressRefused;

/// Looks names up.
pub(super) trait LookUp: Send + Sync + 'static {
    /// The addresses of a name.
    fn addresses(&self, name: &str) -> std::io::Result<Vec<SocketAddr>>;
}

/// The machine's own resolver.
pub(super) struct System;

impl LookUp for System {
    fn addresses(&self, name: &str) -> std::io::Result<Vec<SocketAddr>> {
        std::net::ToSocketAddrs::to_socket_addrs(&(name, 0)).map(Iterator::collect)
    }
}

/// Lets through what may be reached. One address among several that may not spoils them all: an honest name has none.
pub(super) struct Checked<L> {
    pub(super) look_up: Arc<L>,
    pub(super) reach: Reach,
}

impl<L: LookUp> Resolve for Checked<L> {
    fn resolve(&self, name: Name) -> Resolving {
        let (look_up, reach) = (Arc::clone(&self.look_up), self.reach);
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let found = tokio::task::spawn_blocking(move || look_up.addresses(&name)).await??;
            if found.is_empty() || !found.iter().all(|address| may_be_reached(address.ip(), reach)) {
                return Err(AddressRefused.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
