//! Goes on from what a store has kept of an earlier process.

use std::collections::HashMap;

use super::Table;
use super::lifecycle::{OVERDUE_MEMORY, SETTLING};
use super::sessions::Past;
use crate::clock::Timestamp;
use crate::state::model::allocation::{Flag, Granted, Phase};
use crate::state::model::end_records::EndRecord;
use crate::state::model::key::SourceKey;
use crate::state::model::series::Orphan;
use crate::state::model::session::Joining;
use crate::state::record::{AllocationRecord, SavedAllocation, SavedSession, SavedSource, SavedTable, Stage};
use crate::wire::{ByLeg, Leg, Traffic, Volume};

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Allocations that are live.
    pub live: u64,
    /// Allocations that are overdue.
    pub overdue: u64,
    /// Allocations for which the table has no room.
    pub refused: u64,
}

impl Table {
    /// Puts what was kept into a table that is new and knows no other. What had not been told is counted now.
    pub fn restore(&mut self, now: Timestamp, mut saved: SavedTable) -> Restored {
        self.advance(now);
        for label in saved.realms {
            self.realms.recall(&label);
        }
        // What lived when the store began has shown itself since, or is no more.
        let settled_after = self.settings.max_lifetime + self.settings.grace;
        for SavedSource { source, since, heard } in saved.sources {
            if let Some(source) = self.sources.get_mut(source.0 as usize) {
                source.known = true;
                source.is_remembered = heard.since(since) > settled_after;
                source.lost_at = heard.min(now);
            }
        }
        let sessions: HashMap<u64, SavedSession> =
            saved.sessions.into_iter().map(|session| (session.serial, session)).collect();
        // Those that live first, for they open the sessions; the oldest first, for gatherings and ages.
        saved.allocations.sort_by_key(|saved| (saved.kept.stage != Stage::Live, saved.kept.started));
        let mut restored = Restored::default();
        let mut reopened = HashMap::new();
        for SavedAllocation { kept, told, accounted_bytes } in &saved.allocations {
            self.count_untold(&kept.realm, &kept.sums, told);
            if kept.stage == Stage::Ended {
                if !kept.is_end_told {
                    self.forget(self.key_hash(&name_of(kept)));
                }
                continue;
            }
            let Some(at) = self.restore_record(kept, *accounted_bytes) else {
                self.forget(self.key_hash(&name_of(kept)));
                restored.refused += 1;
                continue;
            };
            let past = kept.session.map(|serial| Past { serial, saved: sessions.get(&serial).copied() });
            match kept.stage {
                Stage::Live => {
                    self.join_session(at, Joining::Restored);
                    if let Some(past) = past {
                        self.recall_session(at, past, &mut reopened);
                    }
                    self.enter(at, false);
                    if kept.idle {
                        self.allocations[at].set(Flag::Idle, true);
                        self.orphan(at, Orphan::Idle);
                    }
                    self.judge(at);
                    restored.live += 1;
                }
                Stage::Closing | Stage::Ended => {
                    if let Some(past) = past {
                        self.rejoin_settling(at, past, &mut reopened);
                    }
                    self.wake_at(at, self.now.plus(SETTLING));
                }
                Stage::Overdue => {
                    if kept.overdue_orphan {
                        self.orphan(at, Orphan::Overdue);
                    }
                    self.wake_at(at, kept.ended.plus(OVERDUE_MEMORY).max(self.now));
                    restored.overdue += 1;
                }
            }
        }
        self.forget_notes();
        restored
    }

    /// What scrapers were not told of an allocation's sums is relayed now.
    fn count_untold(&mut self, realm: &[u8], sums: &ByLeg<Traffic>, told: &ByLeg<Traffic>) {
        if sums == told {
            return;
        }
        let realm = self.realms.acquire(realm);
        let relayed = &mut self.realms.series(realm).relayed;
        for leg in Leg::ALL {
            relayed.get_mut(leg).add(&beyond(sums.get(leg), told.get(leg)));
        }
        self.realms.release(realm);
    }

    fn restore_record(&mut self, kept: &AllocationRecord, accounted_bytes: u64) -> Option<u32> {
        let (source, name) = (kept.source.0, name_of(kept));
        let hash = self.key_hash(&name);
        if kept.stage != Stage::Live && !self.has_room(source) {
            // What has ended takes no place from what has ended.
            return None;
        }
        let now = self.now;
        let past = |moment: Timestamp| moment.min(now);
        let granted = Granted {
            lifetime: kept.lifetime.min(self.settings.longest_lifetime()),
            transport: kept.transport,
            server: self.servers.recall(past(kept.last_sign), source, &kept.server),
            server_port: kept.server_port,
            client: kept.client,
            long_form: kept.long_form,
        };
        let at = self.record(&name, hash, &granted, kept.origin, past(kept.started))?;
        let allocation = &mut self.allocations[at];
        allocation.serial = kept.serial.into();
        allocation.granted_at = past(kept.granted_at).into();
        // A clock that was ahead must not keep it for years.
        allocation.alive_until = kept.alive_until.min(now.plus(granted.lifetime)).into();
        allocation.last_sign = past(kept.last_sign).into();
        allocation.quiet_since = past(kept.quiet_since).into();
        allocation.read_at = past(kept.read_at).into();
        allocation.counted = kept.sums.into();
        allocation.phase = match kept.stage {
            Stage::Live => Phase::Live,
            Stage::Closing | Stage::Ended => Phase::Closing,
            Stage::Overdue => Phase::Overdue,
        };
        allocation.cause = kept.cause;
        for (fact, holds) in [
            (Flag::PastKnown, kept.is_past_known),
            (Flag::EndTold, kept.is_end_told),
            (Flag::PeerLeg, kept.has_peer_leg),
            (Flag::ReleasePending, kept.release_pending),
            (Flag::GrantedPerhaps, kept.granted_perhaps),
            (Flag::Relayed, kept.relayed),
            (Flag::OverdueOrphan, kept.stage == Stage::Overdue && kept.overdue_orphan),
        ] {
            allocation.set(fact, holds);
        }
        if kept.ended > Timestamp::ZERO {
            *self.endings.of(at) = EndRecord { at: past(kept.ended), accounted_bytes, client_loss: None };
        }
        Some(at)
    }

    /// Tells of an orphan that was one before.
    fn orphan(&mut self, at: u32, reason: Orphan) {
        let realm = self.allocations[at].realm;
        self.realms.series(realm).orphans.add(reason as usize);
    }
}

fn name_of(kept: &AllocationRecord) -> SourceKey<'_> {
    SourceKey { source: kept.source.0, realm: &kept.realm, user: &kept.user, id: kept.id }
}

/// `sums` without `told`, each number for itself.
fn beyond(sums: &Traffic, told: &Traffic) -> Traffic {
    let each = |sum: Volume, told: Volume| Volume {
        packets: sum.packets.saturating_sub(told.packets),
        bytes: sum.bytes.saturating_sub(told.bytes),
    };
    Traffic { received: each(sums.received, told.received), sent: each(sums.sent, told.sent) }
}
