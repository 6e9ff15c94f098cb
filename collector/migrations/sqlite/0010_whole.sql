-- 1: at its next session the node is asked for all of its state, whatever the digests say, until a snapshot is in: what was refused of
-- it may be taken now.
alter table nodes add column whole_wanted bigint not null default 0;
