"""The page of an instance: models made from its log alone, and the parts that read the log in windows.

A page reads a bounded number of commits, however long the log is. What lies beyond is a link away, and the page says
so.
"""
