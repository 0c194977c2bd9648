"""Where models go to: a repository of the Hugging Face Hub."""
