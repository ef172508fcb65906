"""An organization's name leads to its scale unit: records kept by dynamic updates, or exported for who keeps them."""
