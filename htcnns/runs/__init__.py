"""Workflows: members over a case, a case from end to end, many cases."""
