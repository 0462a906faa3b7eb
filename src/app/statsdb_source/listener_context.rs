//! What all connections of the listener share.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::before_the_table::EarlyRefusals;
use super::client_notices::ClientNotice;
use super::connection_slots::ListenerSlots;
use super::listener_clients::ListenerClients;
use super::suspicious_clients::{Suspicion, SuspiciousClients};
use crate::app::ingest::SharedTable;
use crate::clock::Timestamp;
use crate::config::Statsdb;
use crate::source::forward::Forward;
use crate::source::statsdb::{CommandRefusal, ConnectionRefusal, ForeignProtocol, ListenerStatus};
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
    clients: Arc<Mutex<ListenerClients>>,
    suspicious: Arc<Mutex<SuspiciousClients>>,
    slots: Arc<Mutex<ListenerSlots>>,
    status: Arc<ListenerStatus>,
    /// Until the table is there.
    early: Arc<Mutex<Option<EarlyRefusals>>>,
    /// The table is there and knows the listener.
    is_open: watch::Sender<bool>,
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
            clients: Arc::new(Mutex::new(ListenerClients::new(shared.process_now()))),
            suspicious: Arc::default(),
            slots: Arc::new(Mutex::new(ListenerSlots::new(statsdb.max_connections))),
            status,
            early: Arc::new(Mutex::new(Some(EarlyRefusals::default()))),
            is_open: watch::Sender::new(false),
            shared,
        }
    }

    /// The table is there: it is given what came before it, and all connections go on.
    pub(super) fn open(&self) {
        let now = self.shared.now();
        {
            let mut ingest = self.shared.lock();
            ingest.listens(now, self.id);
            let (refused, coturn_seen) = self.clients().count();
            ingest.callers(self.id, refused, coturn_seen);
            let early = self.early().take().unwrap_or_default();
            early.commands().for_each(|reason| ingest.refused_command(self.id, reason));
            early.connections().for_each(|reason| ingest.refused_connection(self.id, reason));
        }
        self.is_open.send_replace(true);
    }

    /// Whether the table is there.
    pub(super) fn is_open(&self) -> bool {
        *self.is_open.borrow()
    }

    /// Waits until the table is there. May be dropped and called again.
    pub(super) async fn opened(&self) {
        // The sender is `self`, so the channel cannot close while this waits.
        let _ = self.is_open.subscribe().wait_for(|is_open| *is_open).await;
    }

    /// Counts a connection that was closed, or not taken.
    pub(super) fn refused_connection(&self, reason: ConnectionRefusal) {
        if let Some(early) = &mut *self.early() {
            early.connection(reason);
            return;
        }
        self.shared.lock().refused_connection(self.id, reason);
    }

    /// Counts a command that was refused before the table was there; see [`Self::refused_connection`].
    pub(super) fn refused_command(&self, reason: CommandRefusal) {
        if let Some(early) = &mut *self.early() {
            early.command(reason);
            return;
        }
        self.shared.lock().refused_command(self.id, reason);
    }

    fn early(&self) -> MutexGuard<'_, Option<EarlyRefusals>> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn clients(&self) -> MutexGuard<'_, ListenerClients> {
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
        if self.is_open() {
            // Counted and shown under one lock: of two connections the later has the last word.
            let mut ingest = self.shared.lock();
            let (refused, coturn_seen) = self.clients().count();
            ingest.callers(self.id, refused, coturn_seen);
        }
        self.show_clients();
        for notice in notices {
            notice.log(&self.name);
        }
    }

    /// Shows in INFO how it stands with the clients.
    fn show_clients(&self) {
        let clients = self.clients();
        let (refused, coturn_seen) = clients.count();
        self.status.set_clients(refused, coturn_seen, clients.connected());
    }

    /// Shows in INFO how it stands now, and when the last event came.
    pub(super) fn show_status(&self, last_event: Option<Timestamp>) {
        self.show_clients();
        self.status.set_last_event(last_event);
    }

    /// Logs a connection that is not a coturn's, if it is the first of its kind from there.
    pub(super) fn note_suspicious(
        &self,
        peer: IpAddr,
        suspicion: Suspicion,
        speaks: Option<ForeignProtocol>,
    ) {
        let is_news = self.suspicious().is_news(self.shared.process_now(), peer, suspicion);
        if is_news {
            suspicion.log(&self.name, peer, speaks);
        }
    }
}
