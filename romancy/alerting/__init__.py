"""Tells somebody when workflows need a person: `romancy alerts`.

`conditions` reads what holds now. `watching` looks every minute, and sends what has changed to the one instance of
`keeper`, which remembers what was told. So each alert is told once, by any number of processes and over restarts.
`telling` posts it to a webhook, or gives it to a command.
"""
