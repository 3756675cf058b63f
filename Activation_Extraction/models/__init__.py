"""Networks: their modules, weights, layer names, and the one way to touch a layer."""
