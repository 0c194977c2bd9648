"""The page that draws in a browser: the site of it and of bundles, served on this machine or written as files."""
