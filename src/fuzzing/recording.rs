//! Recordings of a table's inputs: whatever they hold, the table takes them in or gives an error, and is consistent then.

use std::time::Duration;

use super::choices::Choices;
use super::empty_table::fresh;
use super::image::{image_of, table_of};
use crate::state::audit;

/// A recording. The last byte says under which settings.
pub(super) fn run(bytes: &[u8]) {
    let (decider, recording) = Choices::last_of(bytes);
    let mut table = fresh(decider);
    if table.replay(recording).is_err() {
        return;
    }
    assert_eq!(audit(&table), Ok(()));
    let page = format!("{:?}", table.snapshot());
    let now = table.snapshot().now;
    let mut table = table_of(image_of(table)).expect("an image of its own");
    assert_eq!(format!("{:?}", table.snapshot()), page, "an image holds all that is on a page");
    table.advance(now.plus(Duration::from_secs(1000)));
    assert_eq!(audit(&table), Ok(()));
}
