"""Downloads of any protocol: resumed after interruptions, checked, moved into place when complete."""
