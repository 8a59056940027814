"""How fast an encoder is here, and models with random weights to measure with."""
