"""The strategies: each knob one function `(pipe, memory, device) → None`, and a check that it took effect."""
