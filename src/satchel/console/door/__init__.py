"""Who comes in, and what every request must prove before a page is asked."""
