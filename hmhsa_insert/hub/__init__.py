"""The Hugging Face Hub: an artifact as a repository with a model card."""
