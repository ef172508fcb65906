"""Which rows belong to which bucket, and the ops that tell devices of every change. The heart of what leaves."""
