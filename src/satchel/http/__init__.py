"""The endpoints: the only room that knows status codes."""
