-- The collector's store. Portable by discipline: TEXT, BIGINT, `$1`, `on conflict`; times are Unix milliseconds;
-- verdicts and severities are the numbers of holdfast.v1 (pass 1 … manual 5, info 1 … critical 5); hashes are lower-case hex.

create table nodes (
    -- SQLite's own row number, so that a node is found without a second look-up; PostgreSQL: bigint.
    node_id integer not null primary key,
    cluster text not null,
    uid text not null,
    name text not null,
    -- agent: a live agent; recorded: a recording shown by `demo`.
    origin text not null,
    -- connected, silent, stopped, gone.
    state text not null,
    state_reason text not null,
    state_since bigint not null,
    -- Fence: writes of an older session are refused.
    session bigint not null,
    epoch text not null,
    seq bigint not null,
    digest text not null,
    agent_version text not null,
    catalogue_hash text not null,
    boot_id text not null,
    first_seen bigint not null,
    last_seen bigint not null,
    -- Last message whose digest matched what is stored.
    confirmed_at bigint not null,
    agent_rss bigint not null,
    agent_cpu_ms bigint not null,
    agent_queued bigint not null,
    agent_dropped bigint not null,
    clock_skew_ms bigint not null,
    truncated_transitions bigint not null,
    unique (cluster, uid)
);

create table findings (
    node_id bigint not null,
    check_id text not null,
    subject text not null,
    -- 80 bits of the key's hash: stable over restarts, safe in links.
    finding_id text not null,
    -- node: judged by the agent; collector: judged here. Snapshots and digests touch only the node's own.
    origin text not null,
    verdict bigint not null,
    severity bigint not null,
    title text not null,
    reason text not null,
    reason_class text not null,
    evidence text not null,
    evidence_truncated bigint not null,
    deciding text not null,
    hash text not null,
    first_seen bigint not null,
    changed_at bigint not null,
    updated_at bigint not null,
    primary key (node_id, check_id, subject)
);
create unique index findings_by_id on findings (finding_id);
-- Groups are answered from these without touching the wide rows.
create index findings_by_check on findings (check_id, verdict, severity, node_id, changed_at);
create index findings_by_verdict on findings (verdict, severity, check_id, node_id, changed_at);
create index findings_unknown on findings (reason_class, node_id, check_id, reason) where verdict = 4;

-- Kept in the transaction that changes findings, so that a tile never counts rows.
create table counts (
    node_id bigint not null,
    check_id text not null,
    severity bigint not null,
    verdict bigint not null,
    n bigint not null,
    primary key (node_id, check_id, severity, verdict)
) without rowid;
create index counts_by_verdict on counts (verdict, severity, check_id, node_id, n);

create table inventory (
    node_id bigint not null,
    kind text not null,
    name text not null,
    json text not null,
    hash text not null,
    changed_at bigint not null,
    primary key (node_id, kind, name)
);
create index inventory_by_kind on inventory (kind, name);

create table transitions (
    node_id bigint not null,
    epoch text not null,
    number bigint not null,
    check_id text not null,
    subject text not null,
    -- 0: not there.
    from_verdict bigint not null,
    to_verdict bigint not null,
    severity bigint not null,
    reason text not null,
    because text not null,
    at bigint not null,
    received_at bigint not null,
    primary key (node_id, epoch, number)
);
create index transitions_by_time on transitions (at);
create index transitions_by_finding on transitions (node_id, check_id, subject, at);

-- Entries that were not stored. They are out of the digest on both sides until their hash changes.
create table refused (
    node_id bigint not null,
    kind bigint not null,
    key text not null,
    hash text not null,
    code bigint not null,
    at bigint not null,
    primary key (node_id, kind, key)
);

-- What pages follow: one row a commit or state change, in commit order.
create table change_log (
    seq bigint not null primary key,
    at bigint not null,
    node_id bigint not null,
    -- findings, inventory, node, alert.
    kind text not null,
    summary text not null
);

-- One row an hour, verdict and severity, with how many nodes reported, so that a chart can show gaps.
create table rollups (
    hour bigint not null,
    verdict bigint not null,
    severity bigint not null,
    n bigint not null,
    nodes_reporting bigint not null,
    nodes_total bigint not null,
    primary key (hour, verdict, severity)
);

create table alerts (
    fingerprint text not null primary key,
    rule text not null,
    labels text not null,
    annotations text not null,
    severity bigint not null,
    -- firing, resolved.
    state text not null,
    nodes bigint not null,
    starts_at bigint not null,
    -- 0 while firing.
    ends_at bigint not null,
    updated_at bigint not null,
    link text not null
);

create table deliveries (
    fingerprint text not null,
    receiver text not null,
    at bigint not null,
    ok bigint not null,
    detail text not null,
    primary key (fingerprint, receiver)
);
