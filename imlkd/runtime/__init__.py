"""Using a finished model: load it, embed audio, verify, identify. The base dependencies suffice."""
