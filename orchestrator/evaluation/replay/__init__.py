"""Replay: a recorded pool answers again, so that routing and aggregation are measured on real responses.

files       a folder -> ReplaySet, checked
splits      which questions are profiled on, and which are the test
recording   ReplaySet + pool -> experts, responses, and what a grader reads in them
player      a composition stepped to its answers with recorded responses
results     answers -> report
"""
