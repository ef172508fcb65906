"""What servers and worker do: ingest, changes, polls, many devices, many buckets, many organizations."""
