"""The command line: each command is thin over one function of the library, and is imported when it is used."""
