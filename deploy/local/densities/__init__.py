"""`rarebit densities`: how far bits hold, in a page with figures."""
