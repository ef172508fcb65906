-- The issuer's tenants whose users may sign in to an organization; none: the installation's only one.
alter table satchel.organization add column tenants text[] not null default '{}';
