"""The rows of the sample organization: where they are kept, how they are made, how they change."""
