"""Runs inside the code sandbox, in an isolated interpreter: imports the standard library only.

`launch` starts here; `namespaces`, `view`, `landlock`, `seccomp` and `privileges` take the process's rights
away; `tester` runs the tests, `program` the code they judge; both talk through a `peer`, in the form of
`wire` over a `channel`, and use each other's objects as `remote` ones.
"""
