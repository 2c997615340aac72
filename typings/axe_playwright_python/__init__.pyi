"""What the tests use of axe-playwright-python, which brings no types."""
