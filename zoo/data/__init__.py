"""Images and data sets as arrays, read from whatever holds them."""
