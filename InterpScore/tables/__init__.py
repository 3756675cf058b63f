"""What goes into a scoring run: experiment tables, neuron maps, stores, effects; read and checked."""
