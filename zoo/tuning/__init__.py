"""From a folder of images and a model to a model of these: looked at, trained, exported, measured, put in place."""
