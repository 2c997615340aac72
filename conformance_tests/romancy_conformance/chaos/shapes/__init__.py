"""Shapes: workflows that have no single outcome, because something reaches them at a random moment.

Programs of a tree (`chaos.programs`) have one legal outcome, which an oracle knows. A shape has many. What it does
outside is written down by its activities (`acts`), one line each, and the judge (`honesty`) asks the log of each
instance for the same. A round plays many instances of each shape at once (`throng`). A new shape is a file with a
`Shape`, and a line in `catalogue`.
"""
