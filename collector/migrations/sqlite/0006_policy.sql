-- What each agent made of the policy it was last told of. A node without a row was told of none.

create table policy_status (
    node_id bigint not null primary key,
    -- The policy it was told of, hex; empty for "none any more".
    hash text not null,
    -- The policy in force on it, as it last said, hex; empty for none.
    held text not null,
    -- applied, refused, pending or unsupported.
    state text not null,
    -- What the agent said, as it said it.
    reason text not null,
    since bigint not null
);
