"""A bundle in other numbers: its graphs rewritten, what that changes measured, a bundle again."""
