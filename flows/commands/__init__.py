"""The command line, a file a group of commands. They import what they need when they are called: `--help` stays quick."""
