"""Retrying instances that failed or were cancelled: what stands is kept, and what was undone is done again."""
