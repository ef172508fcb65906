-- make --
insert into satchel.head (epoch) values (%(epoch)s) on conflict do nothing

-- read --
select epoch, op, binding, model_digest from satchel.head

-- scope --
select scope from satchel.head

-- set_scope --
-- The compiled profile and its client model, one state: a device never sees one without the other.
update satchel.head set scope = %(scope)s, model = %(model)s, model_digest = %(digest)s, binding = binding + 1
where scope is distinct from %(scope)s
