"""Training losses that architectures share, as modules. Which one a model has is said by its plugin or its config."""
