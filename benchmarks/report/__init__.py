"""From figures to what people read: the table, the plots, the page that describes them."""
