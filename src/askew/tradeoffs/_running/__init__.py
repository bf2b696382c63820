"""Trials: their processes, budgets, tuning, measuring, and the loop of an experiment."""
