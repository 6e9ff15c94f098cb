-- Entries of a kind or with a body this version does not know. They are counted in the digest and are gone like others; what they say
-- is not kept. A version that may know more forgets them and asks their nodes for a snapshot.
create table opaque (
    node_id bigint not null,
    -- The number of the kind, as sent.
    kind bigint not null,
    key text not null,
    hash text not null,
    at bigint not null,
    primary key (node_id, kind, key)
);

-- Empty: what is written to see whether there is room again after a full disk, and deleted at once.
create table room (
    filler blob not null
);
