"""Networks cut, rewritten and rerun from a layer onward."""
