"""Training PixelVAEs: recipes, data sets, the loop, checkpoints that survive anything."""
