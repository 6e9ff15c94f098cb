-- How a node's delivery goes, beside its position: what its page says, and no verdict is read from.
create table delivery (
    node_id bigint not null primary key,
    -- When the session was opened that is open, or was last; in_sync, delta or full.
    opened_at bigint not null,
    resume text not null,
    -- The agent's epoch, since when it has it, and how many it had: more than one when it lost what it kept, or kept nothing.
    epoch text not null,
    epoch_since bigint not null,
    epochs bigint not null,
    -- When nodes.clock_skew_ms was measured; 0: never.
    clock_measured_at bigint not null
);
