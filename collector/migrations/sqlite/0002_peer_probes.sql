-- What the agents of other nodes met at a node's ports: the latest answer of each.

create table peer_probes (
    -- The node that was asked.
    node_id bigint not null,
    address text not null,
    port bigint not null,
    -- The node whose agent asked.
    vantage_id bigint not null,
    path text not null,
    tls bigint not null,
    -- An outcome of checks::facts::ProbeOutcome, or refused_by_agent.
    outcome text not null,
    -- Why the agent did not ask; empty when it did.
    refusal text not null,
    -- The HTTP status; 0 without one.
    status bigint not null,
    at bigint not null,
    -- From then on it tells nothing any more.
    stale_at bigint not null,
    primary key (node_id, address, port, vantage_id)
);
create index peer_probes_by_vantage on peer_probes (vantage_id);
create index peer_probes_by_staleness on peer_probes (stale_at);
