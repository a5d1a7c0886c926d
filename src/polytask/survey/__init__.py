"""A first look at data: guesses of what its columns are, and what is the matter with it."""
