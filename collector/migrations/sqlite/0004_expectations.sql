-- What is laid over a failing finding: the id of the built-in expectation that covers it, empty without one. Never a verdict.
-- Made when a finding is written, and made anew at start when the list has changed.

alter table findings add column waiver text not null default '';
create index findings_by_waiver on findings (waiver, node_id) where waiver <> '';
-- As before, with the waiver: open findings are grouped from these without touching the wide rows.
drop index findings_by_check;
drop index findings_by_verdict;
create index findings_by_check on findings (check_id, verdict, severity, node_id, changed_at, waiver);
create index findings_by_verdict on findings (verdict, severity, check_id, node_id, changed_at, waiver);

create table counts_with_waiver (
    node_id bigint not null,
    check_id text not null,
    severity bigint not null,
    verdict bigint not null,
    waiver text not null,
    n bigint not null,
    primary key (node_id, check_id, severity, verdict, waiver)
) without rowid;
insert into counts_with_waiver select node_id, check_id, severity, verdict, '', n from counts;
drop table counts;
alter table counts_with_waiver rename to counts;
create index counts_by_verdict on counts (verdict, severity, check_id, node_id, waiver, n);

-- Containers in the order pages list them, contradictions first; and in an order in which nodes and pods of a group are counted
-- without remembering them.
alter table containers add column rank bigint not null default 9;
drop index containers_by_image;
drop index containers_by_namespace;
create index containers_by_image on containers (place, image, node_id, pod_key, root, contradicts);
create index containers_by_namespace on containers (place, namespace, node_id, pod_key, root, contradicts);
create index containers_by_node on containers (place, node_id, pod_key, root, contradicts);
create index containers_by_rank on containers (place, rank, node_id, subject);
