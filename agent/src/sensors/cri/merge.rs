//! Lays what the runtime says over what files gave. Files win: they are what the runtime was started with, and of privileges the
//! runtime tells nothing here. It fills what they leave open, and adds what they do not know; where both speak of who a container
//! is and differ, one of them was changed, so the listing says that it is not whole.

use std::collections::HashMap;

use holdfast_checks::facts::{Container, ContainerKind, Listing, Observed, Placement, Reason, Skipped, Source, SourceKind, Unavailable};

use super::Answer;
use super::answer::Told;

/// Fills and adds to `containers` from what the runtime at `socket` said at `at`, Unix milliseconds.
pub(in crate::sensors) fn lay_over(containers: &mut Observed<Listing<Container>>, answer: Answer, socket: &str, at: i64) {
    let source = Source::new(SourceKind::Probe, format!("unix://{socket}"));
    if let Observed::Unavailable(why) = containers {
        let skipped = vec![Skipped { what: format!("what files say of containers: {}", why.detail), reason: why.reason }];
        *containers = Observed::known(Listing { items: Vec::new(), skipped }, source.clone(), at);
    }
    let Some(listing) = containers.value_mut() else { return };
    let mut by_id: HashMap<String, usize> = listing.items.iter().enumerate().map(|(index, known)| (known.id.clone(), index)).collect();
    let told = |value: &str| Observed::known(value.to_owned(), source.clone(), at);
    for said in answer.containers {
        if let Some(known) = by_id.get(&said.id).and_then(|index| listing.items.get_mut(*index)) {
            listing.skipped.extend(differences(known, &said));
            fill(known, &said, &told);
        } else {
            by_id.insert(said.id.clone(), listing.items.len());
            listing.items.push(added(&said, &answer.runtime, &told));
        }
    }
    listing.skipped.extend(answer.skipped);
}

fn fill(known: &mut Container, said: &Told, told: &impl Fn(&str) -> Observed<String>) {
    let fields = [
        (&mut known.namespace, &said.namespace),
        (&mut known.pod, &said.pod),
        (&mut known.name, &said.name),
        (&mut known.image, &said.image),
        (&mut known.image_digest, &said.image_digest),
        (&mut known.handler, &said.handler),
    ];
    for (field, said) in fields {
        if field.value().is_none() && !said.is_empty() {
            *field = told(said);
        }
    }
    if known.pod_uid.is_empty() {
        known.pod_uid.clone_from(&said.pod_uid);
    }
}

/// Who it is. An image has many names, and none of them is wrong.
fn differences(known: &Container, said: &Told) -> Vec<Skipped> {
    let value = |field: &Observed<String>| field.value().cloned().unwrap_or_default();
    let fields = [
        ("namespace", value(&known.namespace), &said.namespace),
        ("pod", value(&known.pod), &said.pod),
        ("name", value(&known.name), &said.name),
        ("pod uid", known.pod_uid.clone(), &said.pod_uid),
    ];
    let differ = fields.into_iter().filter(|(_, files, runtime)| !files.is_empty() && !runtime.is_empty() && files != *runtime);
    let differ = differ.map(|(field, files, runtime)| {
        let what = format!("container {}: its files say {field} {files}, the runtime says {runtime}", known.id);
        tracing::warn!("{what}");
        Skipped { what, reason: Reason::Malformed }
    });
    differ.collect()
}

/// A container that no file tells of: its privileges stay unknown.
fn added(said: &Told, runtime: &str, told: &impl Fn(&str) -> Observed<String>) -> Container {
    let name = if said.kind == ContainerKind::Sandbox { "POD" } else { &said.name };
    let subject = format!("pod:{}/{}/{name}", said.namespace, said.pod);
    let mut added = Container {
        runtime: runtime.to_owned(),
        kind: said.kind,
        placement: Placement::Pod,
        configured: Observed::Unavailable(Unavailable::new(
            Reason::NotPresent,
            format!("no file tells of container {}, the runtime does", said.id),
        )),
        ..Container::unread(subject, &said.id)
    };
    fill(&mut added, said, told);
    added
}
