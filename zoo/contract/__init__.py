"""The contract between export and runtime: sizes of a model, the config of a bundle, and the folder it lies in."""
