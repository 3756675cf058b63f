"""The commands of `Human_Experiment_Setup`."""
