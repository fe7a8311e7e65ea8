"""Coroutines: groups of tasks, and running them from synchronous code."""
