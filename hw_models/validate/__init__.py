"""Hold published accelerators against the model: what was given, what follows, what we compute."""
