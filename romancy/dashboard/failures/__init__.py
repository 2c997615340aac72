"""The pages of failures by their causes."""
