-- Containers and root processes as columns, so that pages over the fleet read no documents. Made of the inventory in the
-- transaction that changes it; the document says the rest.

create table containers (
    node_id bigint not null,
    -- The inventory entry it is made of: container or root-process, and its name.
    kind text not null,
    subject text not null,
    -- pod, outside (a container of no pod), sandbox (the runtime's own), process (no container, or not known which).
    place text not null,
    -- Empty: not known, or outside pods.
    namespace text not null,
    pod text not null,
    -- A hash of node, namespace and pod: to count pods without comparing texts.
    pod_key bigint not null,
    name text not null,
    -- Of a process its program. Empty: not known.
    image text not null,
    -- host, user_namespace, none, unknown.
    root text not null,
    -- Why that is not known; empty when it is.
    unknown text not null,
    -- Who is root, for a person.
    programs text not null,
    -- 1: configured for another user than root, and root all the same.
    contradicts bigint not null,
    -- 1 yes, 0 no, -1 not known.
    privileged bigint not null,
    changed_at bigint not null,
    primary key (node_id, kind, subject)
);
-- Groups are answered from these without touching the rows.
create index containers_by_image on containers (place, image, root, contradicts, node_id, pod_key);
create index containers_by_namespace on containers (place, namespace, root, contradicts, node_id, pod_key);

-- With which version of the code tables were made that follow from others; another version makes them anew.
create table derived (
    name text not null primary key,
    version text not null
);
