"""Serving of requests: what an iteration of a replica costs, and what fits into its memory."""
