"""Operating: finding, explaining, ending, purging and rebuilding instances, and what hooks and logs say."""
