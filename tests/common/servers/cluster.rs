//! A Redis Cluster of three masters of the test's own, to each of which a third of the slots belongs.

use super::redis::Redis;
use crate::common::net::ports::Port;
use crate::common::poll::{self, PATIENCE};

/// All slots, in three parts.
const SLOTS: [(&str, &str); 3] = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];

/// See the file's head.
#[derive(Debug)]
pub struct Cluster {
    pub nodes: [Redis; 3],
    /// Those on which the nodes speak to each other.
    _buses: [Port; 3],
}

impl Cluster {
    pub fn start() -> Self {
        let buses = [Port::claim(), Port::claim(), Port::claim()];
        let nodes = [0, 1, 2].map(|at: usize| {
            let bus = buses[at].number.to_string();
            // Redis 7.0 and later; before, it is always the port and ten thousand.
            let node = Redis::start_with_settings(&[("cluster-enabled", "yes"), ("cluster-port", &bus)]);
            node.run(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
            node.run(&["CLUSTER", "ADDSLOTSRANGE", SLOTS[at].0, SLOTS[at].1]);
            node
        });
        for (other, bus) in nodes.iter().zip(&buses).skip(1) {
            let (port, bus) = (other.port().to_string(), bus.number.to_string());
            nodes[0].run(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        let cluster = Self { nodes, _buses: buses };
        poll::until(PATIENCE, "the nodes of the cluster to know each other", || {
            let states = cluster.nodes.each_ref().map(state);
            let is_whole = |state: &String| {
                let says = |line: &str| state.lines().any(|said| said == line);
                says("cluster_state:ok") && says("cluster_known_nodes:3") && says("cluster_size:3")
            };
            if states.iter().all(is_whole) { Ok(()) } else { Err(states.join("\n")) }
        });
        cluster
    }
}

fn state(node: &Redis) -> String {
    redis::cmd("CLUSTER").arg("INFO").query(&mut node.connect(0)).expect("CLUSTER INFO")
}
