"""One card for each model, written by ``pvae-zoo evaluate --card`` from measured figures."""
