"""PostgreSQL: pools, migrations, the embedded server. SQL stands in `.sql` files beside the modules that use it."""
