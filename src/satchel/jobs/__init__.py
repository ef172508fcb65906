"""One file, one work item's whole way: a job joins the rooms below by passing values."""
