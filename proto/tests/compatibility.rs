//! Refuses a breaking change of the wire: every message, field and enum value of the golden descriptor must still be
//! there with the same number, type and cardinality. Adding is fine; then refresh the golden file with
//! `HOLDFAST_BLESS=1 cargo test -p holdfast-proto`, which refuses to drop anything either.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "a test reads its own golden file and may fail")]

use std::collections::BTreeMap;
use std::path::Path;

use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};

const GOLDEN: &str = "golden/holdfast.v1.binpb";

/// One line per thing that old peers rely on: `Message.field` to `number type cardinality`, `Enum.VALUE` to `number`.
fn surface(set: &FileDescriptorSet) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    for file in &set.file {
        for message in &file.message_type {
            message_surface(file.package(), message, &mut lines);
        }
        for enumeration in &file.enum_type {
            enum_surface(file.package(), enumeration, &mut lines);
        }
        for service in &file.service {
            for method in &service.method {
                let signature = format!(
                    "{} stream={} -> {} stream={}",
                    method.input_type(),
                    method.client_streaming(),
                    method.output_type(),
                    method.server_streaming()
                );
                lines.insert(format!("{}.{}.{}", file.package(), service.name(), method.name()), signature);
            }
        }
    }
    lines
}

fn message_surface(scope: &str, message: &DescriptorProto, lines: &mut BTreeMap<String, String>) {
    let name = format!("{scope}.{}", message.name());
    lines.insert(name.clone(), "message".to_owned());
    for field in &message.field {
        let oneof = field.oneof_index.and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?)).map_or("", |decl| decl.name());
        let shape = format!("{} {:?} {:?} {} oneof={oneof}", field.number(), field.r#type(), field.label(), field.type_name());
        lines.insert(format!("{name}.{}", field.name()), shape);
    }
    for nested in &message.nested_type {
        message_surface(&name, nested, lines);
    }
    for enumeration in &message.enum_type {
        enum_surface(&name, enumeration, lines);
    }
}

fn enum_surface(scope: &str, enumeration: &EnumDescriptorProto, lines: &mut BTreeMap<String, String>) {
    for value in &enumeration.value {
        lines.insert(format!("{scope}.{}.{}", enumeration.name(), value.name()), value.number().to_string());
    }
}

fn broken(golden: &FileDescriptorSet, current: &FileDescriptorSet) -> Vec<String> {
    let current = surface(current);
    surface(golden)
        .into_iter()
        .filter_map(|(name, shape)| match current.get(&name) {
            None => Some(format!("{name} was removed (was: {shape})")),
            Some(now) if *now != shape => Some(format!("{name} changed from `{shape}` to `{now}`")),
            Some(_) => None,
        })
        .collect()
}

fn compiled() -> FileDescriptorSet {
    protox::compile(["holdfast/v1/session.proto"], [env!("CARGO_MANIFEST_DIR")]).expect("the proto files compile")
}

#[test]
fn nothing_an_old_peer_relies_on_has_changed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
    let current = compiled();
    if let Ok(bytes) = std::fs::read(&path) {
        let golden = FileDescriptorSet::decode(bytes.as_slice()).expect("the golden descriptor decodes");
        assert_eq!(broken(&golden, &current), Vec::<String>::new());
        if surface(&golden) == surface(&current) {
            return;
        }
        assert!(std::env::var_os("HOLDFAST_BLESS").is_some(), "the contract grew: run with HOLDFAST_BLESS=1 to record it in {GOLDEN}");
    } else {
        assert!(std::env::var_os("HOLDFAST_BLESS").is_some(), "{GOLDEN} is missing");
    }
    std::fs::write(&path, current.encode_to_vec()).expect("write the golden descriptor");
}

#[test]
fn a_removed_renumbered_or_retyped_field_is_noticed() {
    let golden = compiled();
    let change = |edit: &dyn Fn(&mut DescriptorProto)| {
        let mut changed = golden.clone();
        for file in &mut changed.file {
            for message in file.message_type.iter_mut().filter(|message| message.name() == "Heartbeat") {
                edit(message);
            }
        }
        broken(&golden, &changed)
    };
    assert_eq!(change(&|_| ()), Vec::<String>::new());
    assert_eq!(change(&|message| drop(message.field.remove(0))).len(), 1);
    assert_eq!(change(&|message| message.field[0].number = Some(99)).len(), 1);
    assert_eq!(change(&|message| message.field[0].set_type(prost_types::field_descriptor_proto::Type::String)).len(), 1);
}
