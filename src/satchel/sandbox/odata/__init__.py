"""What goes over the wire: requests and answers, query options, rows as JSON, metadata documents."""
