"""What is reported of a model: measured figures, and the card that states them."""
