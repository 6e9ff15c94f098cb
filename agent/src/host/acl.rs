//! POSIX access ACLs as the kernel gives them: `system.posix_acl_access`, version 2, little-endian (`acl(5)`, `posix_acl_xattr.h`).
//!
//! Must not know whose ACL it is.

use holdfast_checks::facts::AclEntry;

const VERSION: u32 = 2;
const ENTRY_BYTES: usize = 8;
const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const OWNING_GROUP: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHERS: u16 = 0x20;

/// What the ACL says beyond `mode`: named users and groups after the mask, and the owning group where the mask takes from it.
/// `gid` owns the file. `None` when it is no ACL.
pub(super) fn parse(bytes: &[u8], mode: u32, gid: u32) -> Option<Vec<AclEntry>> {
    let (version, rest) = bytes.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION || rest.len() % ENTRY_BYTES != 0 {
        return None;
    }
    let entries: Vec<(u16, u32, u32)> = rest.chunks_exact(ENTRY_BYTES).map(entry).collect::<Option<_>>()?;
    let only = |tag| entries.iter().find(|(of, _, _)| *of == tag).map(|(_, permissions, _)| *permissions);
    // Without anybody named there may be no mask.
    let mask = only(MASK).unwrap_or(0o7);
    let listed = |whom: &str, id: u32, permissions: u32| AclEntry {
        whom: whom.to_owned(),
        id: i64::from(id),
        permissions: i64::from(permissions & mask),
    };
    let mut beyond = Vec::new();
    for (tag, permissions, id) in &entries {
        match *tag {
            USER => beyond.push(listed("user", *id, *permissions)),
            GROUP => beyond.push(listed("group", *id, *permissions)),
            OWNER | OWNING_GROUP | MASK | OTHERS => {}
            _ => return None,
        }
    }
    if !beyond.is_empty() && only(MASK).is_none() {
        return None;
    }
    // With a mask the mode's group bits are the mask.
    let owning = only(OWNING_GROUP)?;
    if owning & mask != (mode >> 3) & 0o7 {
        beyond.push(listed("owning_group", gid, owning));
    }
    Some(beyond)
}

fn entry(bytes: &[u8]) -> Option<(u16, u32, u32)> {
    let (tag, rest) = bytes.split_first_chunk::<2>()?;
    let (permissions, rest) = rest.split_first_chunk::<2>()?;
    let (id, _) = rest.split_first_chunk::<4>()?;
    let permissions = u32::from(u16::from_le_bytes(*permissions));
    (permissions <= 0o7).then(|| (u16::from_le_bytes(*tag), permissions, u32::from_le_bytes(*id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut acl = 2u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            acl.extend(tag.to_le_bytes());
            acl.extend(permissions.to_le_bytes());
            acl.extend(id.to_le_bytes());
        }
        acl
    }

    fn entries(acl: &[u8], mode: u32) -> Option<Vec<(String, i64, i64)>> {
        parse(acl, mode, 30).map(|list| list.into_iter().map(|entry| (entry.whom, entry.id, entry.permissions)).collect())
    }

    const NOBODY: u32 = u32::MAX;

    #[test]
    fn those_named_come_after_the_mask_and_the_group_where_the_mask_hides_it() {
        let named = [(1, 6, NOBODY), (2, 7, 1000), (4, 0, NOBODY), (8, 6, 20), (16, 4, NOBODY), (32, 0, NOBODY)];
        let expected = [("user", 1000, 4), ("group", 20, 4), ("owning_group", 30, 0)].map(|(whom, id, may)| (whom.to_owned(), id, may));
        assert_eq!(entries(&bytes(&named), 0o640), Some(expected.to_vec()));
        let plain = [(1, 6, NOBODY), (4, 4, NOBODY), (32, 0, NOBODY)];
        assert_eq!(entries(&bytes(&plain), 0o640), Some(Vec::new()));
        let same = [(1, 6, NOBODY), (2, 4, 7), (4, 4, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY)];
        assert_eq!(entries(&bytes(&same), 0o640), Some(vec![("user".to_owned(), 7, 4)]));
    }

    #[test]
    fn what_is_no_access_list_is_none() {
        let whole = bytes(&[(1, 6, NOBODY), (2, 4, 7), (4, 4, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY)]);
        assert_eq!(entries(&whole[..whole.len() - 1], 0o640), None);
        assert_eq!(entries(&[], 0o640), None);
        assert_eq!(entries(&[1, 0, 0, 0], 0o640), None);
        assert_eq!(entries(&bytes(&[(64, 4, 1)]), 0o640), None, "an unknown kind of entry");
        assert_eq!(entries(&bytes(&[(2, 9, 1), (16, 7, NOBODY)]), 0o640), None, "rights beyond rwx");
        assert_eq!(entries(&bytes(&[(1, 6, NOBODY), (2, 4, 7), (4, 4, NOBODY), (32, 0, NOBODY)]), 0o640), None, "named without a mask");
    }
}
