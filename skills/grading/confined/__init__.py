"""Runs inside the code sandbox, in an isolated interpreter: imports the standard library only.

`launch` starts here; `namespaces`, `view`, `landlock`, `seccomp` and `privileges` take the process's rights
away; `judge` runs the tests, `program` the code they judge; both talk through `peer` in the form of `wire`.
"""
