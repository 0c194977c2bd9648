"""Training PixelVAEs: recipes, the loop, checkpoints that survive anything."""
