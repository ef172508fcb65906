"""The journal of an organization: edits of its devices, from the moment they are durable until they are settled."""
