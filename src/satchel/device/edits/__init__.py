"""Edits made on this device: made and checked, kept in the outbox, sent, settled by the server's verdicts."""
