//! What ends when ids (`model::seen_ids`) prove that the process behind a server address is new.

use crate::state::model::ids::{RecordId, ServerId};
use std::time::Duration;

use super::Table;
use crate::clock::Timestamp;
use crate::state::model::allocation::{Allocation, Cause, Flag, Granted, Phase};
use crate::state::model::discovery::Discovery;
use crate::state::model::key::SourceKey;
use crate::state::model::label::OTHER;
use crate::state::model::seen_ids::{LOGIN, NewProcess, parts};
use crate::state::model::servers::TurnServer;
use crate::wire::AllocationId;

/// A coturn does not end, start again and give its first allocation within less.
const RESTART: Duration = Duration::from_millis(100);

impl Table {
    /// Notes the id of a birth. Gives the proof that the server's process is new, if it is one.
    // docs/semantics.md#ids-that-prove-a-new-process
    pub(super) fn note_birth(&mut self, id: AllocationId, granted: &Granted) -> Option<NewProcess> {
        let address = self.address_of(granted)?;
        self.servers.ids.birth(self.now, address, id)
    }

    /// Notes the id of a later status, of an allocation that began at `started`.
    pub(super) fn note_status(&mut self, id: AllocationId, granted: &Granted, started: Timestamp) {
        if let Some(address) = self.address_of(granted) {
            self.servers.ids.see(self.now, address, id, started);
        }
    }

    /// Notes the id of an allocation whose birth was not received, and which seems to have begun at `started`.
    pub(super) fn note_adopted(&mut self, id: AllocationId, granted: &Granted, started: Timestamp) {
        if let Some(address) = self.address_of(granted) {
            self.servers.ids.adopt(self.now, address, id, started);
        }
    }

    /// Notes that an allocation reports its end, or its release.
    pub(super) fn note_end(&mut self, at: RecordId) {
        let record = &self.records[at];
        if record.is(Flag::LongForm) {
            let address = (record.server, record.server_port);
            self.servers.ids.see_end(address, record.id, record.started.get());
        }
    }

    /// The address whose ids count together. `None` where the status does not say which server it is, or where it is one of
    /// several past the cap.
    fn address_of(&self, granted: &Granted) -> Option<(ServerId, u16)> {
        let is_of_several = |server: &TurnServer| *server.label == *OTHER;
        let is_known = granted.long_form && !is_of_several(self.servers.get(granted.server));
        is_known.then_some((granted.server, granted.server_port))
    }

    /// A birth under `key`, whose record is `newborn`, proves that the process behind its server address is new: what the
    /// old one held ended with it. An allocation that began after the old process' last sign may be the new one's: it stays
    /// until it is due, or, one of another thread, until that thread gives proof.
    // docs/semantics.md#cause-replaced
    pub(super) fn end_old_process(
        &mut self,
        key: &SourceKey<'_>,
        newborn: Option<RecordId>,
        granted: &Granted,
        proof: NewProcess,
    ) {
        let source = key.source;
        let server = self.servers.label(granted.server);
        let (of_server, last_sign) = self.records_of_server(key, newborn, granted, proof);
        let mut last_sign = last_sign.max(proof.last_status);
        // Another thread has proven the same restart: what was born since is the new process'.
        let new_since = if last_sign < proof.proven_before { proof.proven_before } else { Timestamp::MAX };
        let mut allocations = 0;
        for at in of_server {
            let record = &self.records[at];
            let started = record.started.get();
            if started > last_sign.plus(RESTART) || started >= new_since {
                break;
            }
            if started <= last_sign {
                // It is the old process' for certain, so its signs are, too.
                last_sign = last_sign.max(record.last_sign.get());
            }
            if record.phase == Phase::Live {
                self.end_with_process(at, Cause::Replaced);
                allocations += 1;
            } else {
                // Its end is counted; it is certain now.
                self.clear_overdue_orphan(at);
                self.records[at].phase = Phase::Gone;
            }
        }
        self.discoveries.add(Discovery::ServerRestarted {
            source,
            server,
            port: granted.server_port,
            allocations,
        });
    }

    /// The other records of a server's address that may have ended with its old process, the oldest first; and the last sign
    /// of those that are the old process' for certain: of the thread of the `key`, and too old or with too high an id for the new
    /// one. Walks all records: a server restarts seldom, and what follows must be one step.
    fn records_of_server(
        &self,
        key: &SourceKey<'_>,
        newborn: Option<RecordId>,
        granted: &Granted,
        proof: NewProcess,
    ) -> (Vec<RecordId>, Timestamp) {
        let (source, proving) = (key.source, parts(key.id));
        let is_its = |record: &Allocation| {
            record.is(Flag::LongForm)
                && record.source() == source
                && (record.server, record.server_port) == (granted.server, granted.server_port)
        };
        let places = u32::try_from(self.records.places()).unwrap_or(u32::MAX);
        let (mut of_server, mut last_sign) = (Vec::new(), Timestamp::ZERO);
        for at in (0..places).map(RecordId::of_place).filter(|&at| Some(at) != newborn) {
            let Some(record) = self.records.get(at).filter(|record| is_its(record)) else { continue };
            let (started, id) = (record.started.get(), parts(record.id));
            let is_of_thread = id.map(|(thread, _)| thread) == proving.map(|(thread, _)| thread);
            let is_sure = started < proof.unsure_since || id >= proving && self.now.since(started) > LOGIN;
            if is_of_thread && is_sure {
                last_sign = last_sign.max(record.last_sign.get());
            }
            if matches!(record.phase, Phase::Live | Phase::Overdue) {
                of_server.push(at);
            }
        }
        of_server.sort_by_key(|&at| (self.records[at].started.get(), at));
        (of_server, last_sign)
    }

    /// A record that ended with an old process is reported again: two processes share its server address.
    pub(super) fn rest_id_rule(&mut self, at: RecordId) {
        let record = &self.records[at];
        let (source, server, port) = (record.source(), record.server, record.server_port);
        if self.servers.ids.rest(self.now, (server, port)) {
            let server = self.servers.label(server);
            self.discoveries.add(Discovery::AddressShared { source, server, port });
        }
    }
}
