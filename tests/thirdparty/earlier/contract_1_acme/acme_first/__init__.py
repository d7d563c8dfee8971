"""A plugin for version 1 of the contract: models, tags, a scheme, a repository and aspects, all by their old names."""
