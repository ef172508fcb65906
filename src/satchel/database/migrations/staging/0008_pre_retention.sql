-- Tombstones are kept for a time; a cursor from before `floor` starts over.
alter table satchel.head add column floor bigint not null default 0;
alter table satchel.head set (fillfactor = 50);

-- When the head stood where: it is noted now and then.
create table satchel.op_time (
    op bigint primary key,
    noted_at timestamptz not null
);

alter table satchel.family add column retired_op bigint;  -- the head when it was retired
update satchel.family set retired_op = (select op from satchel.head) where state = 'retired';

create index member_tombstones on satchel.member (op) where not is_live;
-- Every change moves a member's op: what is dead is collected before the indexes grow by it.
alter table satchel.member set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
