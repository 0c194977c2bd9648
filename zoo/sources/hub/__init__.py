"""The Hugging Face Hub through huggingface_hub: its cache and its settings, our hashes on top."""
