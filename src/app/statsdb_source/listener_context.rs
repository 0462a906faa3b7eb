//! What all connections of the listener share.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::connection_slots::ListenerSlots;
use super::refused_clients::{ClientNotice, RefusedClients};
use super::suspicious_clients::{Suspicion, SuspiciousClients};
use crate::app::ingest::SharedTable;
use crate::config::Statsdb;
use crate::source::forward::Forward;
use crate::source::statsdb::{ForeignProtocol, ListenerStatus};
use crate::state::SourceId;

/// What a connection needs.
#[derive(Clone, Debug)]
pub(super) struct ListenerContext {
    pub(super) id: SourceId,
    pub(super) shared: SharedTable,
    pub(super) forward: Option<Forward>,
    /// A closed connection says nothing about its coturn.
    pub(super) is_behind_proxy: bool,
    /// The source's name.
    pub(super) name: Arc<str>,
    clients: Arc<Mutex<RefusedClients>>,
    suspicious: Arc<Mutex<SuspiciousClients>>,
    slots: Arc<Mutex<ListenerSlots>>,
    status: Arc<ListenerStatus>,
}

impl ListenerContext {
    pub(super) fn new(
        statsdb: &Statsdb,
        status: Arc<ListenerStatus>,
        id: SourceId,
        shared: SharedTable,
    ) -> Self {
        Self {
            id,
            forward: statsdb.forward.as_ref().map(|_| Forward::default()),
            is_behind_proxy: statsdb.is_behind_proxy,
            name: statsdb.name.as_str().into(),
            clients: Arc::new(Mutex::new(RefusedClients::new(shared.now()))),
            suspicious: Arc::default(),
            slots: Arc::new(Mutex::new(ListenerSlots::new(statsdb.max_connections))),
            status,
            shared,
        }
    }

    pub(super) fn clients(&self) -> MutexGuard<'_, RefusedClients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn suspicious(&self) -> MutexGuard<'_, SuspiciousClients> {
        self.suspicious.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn slots(&self) -> MutexGuard<'_, ListenerSlots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs what has changed among the clients, and shows it on the page and in INFO.
    pub(super) fn report(&self, notices: &[ClientNotice]) {
        if notices.is_empty() {
            return;
        }
        {
            // Counted and shown under one lock: of two connections the later has the last word.
            let mut ingest = self.shared.lock();
            let (refused, coturn_seen) = self.clients().count();
            ingest.callers(self.id, refused, coturn_seen);
            self.status.set(refused, coturn_seen);
        }
        for notice in notices {
            notice.log(&self.name);
        }
    }

    /// Logs a connection that is not a coturn's, if it is the first of its kind from there.
    pub(super) fn note_suspicious(
        &self,
        peer: IpAddr,
        suspicion: Suspicion,
        speaks: Option<ForeignProtocol>,
    ) {
        let is_news = self.suspicious().is_news(self.shared.now(), peer, suspicion);
        if is_news {
            suspicion.log(&self.name, peer, speaks);
        }
    }
}
