-- Who speaks for a node, who may be enrolled, and which nodes exist without an agent.

-- How the newest session proved who it is (`token`, `pod:UID`, `enrolment:UID`); whether a Node object with this uid is known: '' not
-- known, 'listed', 'unwatchable' (listed, and no agent can run there), 'absent' (there was never one), 'deleted'; since when, Unix
-- milliseconds; and why no agent can run there.
alter table nodes add column holder text not null default '';
alter table nodes add column membership text not null default '';
alter table nodes add column membership_since bigint not null default 0;
alter table nodes add column unwatchable text not null default '';

-- What history a node has used of what it may tell, as of when (Unix milliseconds): it comes back with time. And how many transitions
-- came beyond that, ever.
alter table nodes add column history_at bigint not null default 0;
alter table nodes add column history_spent bigint not null default 0;
alter table nodes add column collapsed_transitions bigint not null default 0;

-- What was refused of a node whose credentials were good, by hour (Unix hours), so that an hour ends by itself.
create table breaches (
    node_id bigint not null,
    -- duplicate, alternation, foreign_write.
    kind text not null,
    hour bigint not null,
    n bigint not null,
    -- The last one, for a person.
    detail text not null,
    at bigint not null,
    primary key (node_id, kind, hour)
);
create index breaches_by_hour on breaches (hour);

-- Since when `holder` is who it is, Unix milliseconds. And whether a name an agent gives itself is another node's: asked for each.
alter table nodes add column holder_since bigint not null default 0;
create index nodes_by_name on nodes (cluster, name);

-- Enrolments that were used: which key, and the certificate that is in use. Who may enrol is in the enrolments file.
create table enrolled (
    cluster text not null,
    uid text not null,
    -- SHA-256, hex: of the enrolment token, and of the public key of the first request.
    token_sha256 text not null,
    key_sha256 text not null,
    -- What the serial numbers of the certificates that go back to that token begin with, hex.
    family text not null,
    -- Serial number of the newest certificate, hex, and when it ends, Unix milliseconds.
    serial text not null,
    not_after bigint not null,
    enrolled_at bigint not null,
    renewed_at bigint not null,
    primary key (cluster, uid)
);
