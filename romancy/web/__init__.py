"""What every HTTP server of Romancy needs."""
