"""Where activations and concepts come from: stores, folders, image tables, and words with a network that reads them."""
