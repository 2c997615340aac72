"""Children: their ids, their parents of former lives, and workers that know only one of the two."""
