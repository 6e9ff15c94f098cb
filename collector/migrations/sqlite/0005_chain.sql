-- The patch chain: one row for each link of each node, written with the collector's own findings and judged again with them.
create table chain (
    node_id bigint not null,
    -- os, kernel, containerd, containerd/runc, kubelet, ….
    subject text not null,
    component text not null,
    -- The system as groups name it: os-release ID and VERSION_ID, `debian 12`; empty when not known.
    image text not null,
    -- The running kernel's release, the same for every link of a node; empty when not known.
    kernel text not null,
    running text not null,
    -- Installed and not running; empty when nothing waits or that is not known.
    waiting text not null,
    -- The version that fixes what affects it; empty when none does or none is known.
    fixed_in text not null,
    -- 1 known_exploited … 6 supported, in the order of `versions::Headline::ALL`.
    headline bigint not null,
    -- supported, eol_soon, extended_free, extended_paid, eol; empty when not known.
    support text not null,
    -- The last day of support, 2028-06-30; empty when none is known.
    ends text not null,
    -- The row of lifecycle data: `debian 12`; empty when none was used.
    judged_by text not null,
    -- Days behind the newest of its series; -1 when not known.
    behind_days bigint not null,
    affecting bigint not null,
    exploited bigint not null,
    possible bigint not null,
    -- active, reboot_pending, restart_pending, newer_not_selected; empty when not known.
    activation text not null,
    -- Vendor, series and flavour: nodes of one component, image and line are compared.
    line text not null,
    -- How `level` compares: dpkg, rpm, upstream; empty when it does not.
    level_order text not null,
    -- The version that compares within the line; empty when no exact one is known.
    level text not null,
    -- The whole `versions::Link`.
    json text not null,
    primary key (node_id, subject)
);
create index chain_by_component on chain (component, headline, image, running, node_id);
create index chain_by_end on chain (ends, judged_by, node_id) where ends <> '';
create index chain_by_line on chain (component, image, line, level_order, level, node_id) where level <> '';
