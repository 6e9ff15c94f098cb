//! Containers of recorded nodes and of trees laid out as other runtimes lay them out.

use holdfast_checks::facts::{Configured, Container, ContainerKind, MountKind, NodeFacts, Observed, Placement, Reason};
use rstest::rstest;

use super::{complete, known, options, read, recorded};

fn node(name: &str) -> NodeFacts {
    let tree = recorded(name);
    read(options(&tree.join("host"), &tree.join("proc")))
}

#[test]
#[ignore = "prints"]
fn print_containers() {
    for name in ["hardened", "cgroupv2-systemd"] {
        println!("{}", serde_json::to_string_pretty(&node(name).containers).unwrap());
    }
}
