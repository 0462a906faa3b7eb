//! Containers that know nothing of TURN: records by number or by key, queues, names, addresses, orders of age
//! and of time.
//!
//! Each gives room back after a peak. They use nothing of the other wings.

pub(super) mod addresses;
pub(super) mod age_list;
pub(super) mod chunk;
pub(super) mod free_list;
pub(super) mod id;
pub(super) mod interner;
pub(super) mod packed;
pub(super) mod queue;
pub(super) mod recent_keys;
pub(super) mod shared_names;
pub(super) mod slab;
pub(super) mod slab_map;
pub(super) mod timer_queue;
