"""farm's commands: each file is one, and this folder is the only list of them.

A file's options are declared here; what is heavy is imported inside its function, so that
`farm --help` and completion stay quick. The work itself is in the rooms beside this folder.
"""
