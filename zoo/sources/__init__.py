"""Where models come from: the package, a folder, the Hugging Face Hub, and the one that is meant unless named."""
