//! Clusters that more than one way in names: the same machine could come in by each, as two nodes, and whoever has either of its
//! credentials speaks for it. Said once, and again when the files change; nobody is refused for it.

use std::collections::{BTreeMap, BTreeSet};

use crate::followed::Followed;
use crate::store::nodes::Origin;

use super::list::{List, ListError};

/// A file that names clusters, or the cluster whose API server is asked.
#[derive(Debug, Clone)]
pub(super) enum Way {
    File(&'static str, Followed<List, ListError>),
    Api(String),
}

impl Way {
    fn name(&self) -> String {
        match self {
            Self::File(kind, file) => format!("the {kind} {}", file.path().display()),
            Self::Api(_) => "the API server (--token-review, --cluster)".to_owned(),
        }
    }

    /// Those of live nodes: a recording is nobody's to speak for twice.
    fn clusters(&self) -> BTreeSet<String> {
        match self {
            Self::File(_, file) => file.get(|list| {
                let live = list.nodes.values().filter(|node| node.origin == Origin::Agent);
                live.map(|node| node.cluster.clone()).collect()
            }),
            Self::Api(cluster) => BTreeSet::from([cluster.clone()]),
        }
    }
}

/// By cluster, the ways in that name it, where it is more than one.
fn overlaps(ways: &[Way]) -> BTreeMap<String, Vec<String>> {
    let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for way in ways {
        for cluster in way.clusters() {
            named.entry(cluster).or_default().push(way.name());
        }
    }
    named.retain(|_, ways| ways.len() > 1);
    named
}

/// Says of which clusters that is so, now and whenever there are others, for ever.
pub(super) async fn watch(ways: Vec<Way>) {
    let files = || ways.iter().filter_map(|way| if let Way::File(_, file) = way { Some(file.subscribe()) } else { None });
    let mut changes: Vec<_> = files().collect();
    let mut said = BTreeMap::new();
    loop {
        let found = overlaps(&ways);
        for (cluster, ways) in found.iter().filter(|(cluster, ways)| said.get(*cluster) != Some(*ways)) {
            let named_by = ways.join(" and ");
            tracing::warn!(
                cluster,
                named_by,
                "one cluster by more than one way in: a machine that uses both is two nodes, and either credential speaks for it; name each \
                 machine in one of them, or give what is not in the cluster another cluster name"
            );
        }
        said = found;
        // Each waits for its own file; the first that changes has all looked at.
        let waiting = changes.iter_mut().map(|change| Box::pin(change.changed()));
        if waiting.len() == 0 {
            return std::future::pending().await;
        }
        if futures_util::future::select_all(waiting).await.0.is_err() {
            return std::future::pending().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Tokens, token};

    #[tokio::test]
    async fn a_cluster_that_two_ways_in_name_is_found_with_where_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.yaml");
        for (cluster, name, origin) in [("edge", "a", Origin::Agent), ("prod", "b", Origin::Agent), ("shown", "c", Origin::Recorded)] {
            token::add(&path, cluster, name, origin).unwrap();
        }
        let tokens = Tokens::load(&path).unwrap();
        let file = Way::File("tokens file", tokens.0.clone());
        assert!(overlaps(&[file.clone(), Way::Api("other".into())]).is_empty());
        assert!(overlaps(&[file.clone(), Way::Api("shown".into())]).is_empty(), "a recording is no node of the cluster");
        assert!(overlaps(std::slice::from_ref(&file)).is_empty());
        let found = overlaps(&[file, Way::Api("prod".into())]);
        let named = vec![format!("the tokens file {}", path.display()), "the API server (--token-review, --cluster)".to_owned()];
        assert_eq!(found, BTreeMap::from([("prod".to_owned(), named)]));
    }
}
